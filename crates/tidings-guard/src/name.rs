//! Names that mean something inside, whatever a name server says.

use crate::refusal::Refusal;

/// Names, and everything under them.
const INSIDE: &[&str] = &["localhost", "local", "internal", "metadata.goog", "instance-data"];

/// The name as it is to be resolved: lower-case, without a trailing dot. The text comes from [`url`], which has applied
/// IDNA to it.
pub(crate) fn canonical(host: &str) -> Result<String, Refusal> {
    let name = host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase();
    let well_formed = (1..=253).contains(&name.len()) && name.split('.').all(is_label);
    if well_formed { Ok(name) } else { Err(Refusal::Host) }
}

/// `url` lets through what no host on the internet is called, such as `a$b` and `*`.
fn is_label(label: &str) -> bool {
    (1..=63).contains(&label.len()) && label.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b))
}

/// Of a canonical name. A single label is what the resolver's search list makes of it, so it is never public.
pub(crate) fn is_inside(name: &str) -> bool {
    !name.contains('.')
        || INSIDE.iter().any(|inside| {
            name.strip_suffix(inside).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn inside_is_what_is_called_so_and_all_under_it() {
        for name in ["localhost", "a.localhost", "printer.local", "metadata.google.internal", "metadata.goog"]
        {
            assert!(is_inside(name), "{name}");
        }
        for name in ["intranet", "instance-data", "instance-data.ec2.internal", "x.metadata.goog"] {
            assert!(is_inside(name), "{name}");
        }
        for name in
            ["example.com", "notlocalhost.com", "mylocal.example", "localhost.example", "goog.example"]
        {
            assert!(!is_inside(name), "{name}");
        }
    }

    #[test]
    fn a_name_is_of_letters_digits_and_hyphens() {
        assert_eq!(canonical("Example.COM.").unwrap(), "example.com");
        for host in ["", ".", "a..b", "example.com..", ".example.com", "a$b.com", "*.example.com", "a,b.com"]
        {
            assert_eq!(canonical(host), Err(Refusal::Host), "{host:?}");
        }
        assert_eq!(canonical(&format!("{}.com", "a".repeat(64))), Err(Refusal::Host));
        assert_eq!(canonical(&format!("{}com", "a.".repeat(126))), Err(Refusal::Host));
    }
}
