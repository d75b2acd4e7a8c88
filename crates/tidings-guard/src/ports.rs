use std::{ops::RangeInclusive, str::FromStr};

/// Ports that may be called. Port 0 never is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ports(Vec<RangeInclusive<u16>>);

impl Ports {
    pub fn contains(&self, port: u16) -> bool {
        port != 0 && self.0.iter().any(|range| range.contains(&port))
    }
}

/// 443 and 1024 to 65535: not the services that listen on a machine's low ports.
impl Default for Ports {
    fn default() -> Self {
        Self(vec![443..=443, 1024..=65535])
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("ports are numbers from 1 to 65535 and ranges of them, such as 443,1024-65535")]
pub struct PortsError;

/// `443,1024-65535`
impl FromStr for Ports {
    type Err = PortsError;

    fn from_str(text: &str) -> Result<Self, PortsError> {
        let port = |text: &str| text.trim().parse().ok().filter(|port| *port != 0).ok_or(PortsError);
        let range = |text: &str| {
            let (first, last) = text.split_once('-').unwrap_or((text, text));
            let range = port(first)?..=port(last)?;
            if range.is_empty() { Err(PortsError) } else { Ok(range) }
        };
        text.split(',').map(range).collect::<Result<_, _>>().map(Self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_read_as_they_are_written() {
        assert_eq!("443,1024-65535".parse(), Ok(Ports::default()));
        let ports: Ports = "80, 8000-8001".parse().unwrap();
        assert!(ports.contains(80) && ports.contains(8001) && !ports.contains(443) && !ports.contains(8002));
        for text in ["", "0", "1-0", "0-5", "65536", "a", "1,,2", "5-1", "-1"] {
            assert_eq!(text.parse::<Ports>(), Err(PortsError), "{text:?}");
        }
        assert!(!Ports::default().contains(0));
    }
}
