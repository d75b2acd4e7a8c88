//! Names that users choose: validated once, cheap to clone.

use std::{fmt, str::FromStr, sync::Arc};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

#[derive(Debug, Clone, Copy, thiserror::Error, PartialEq, Eq)]
#[error("a {what} {rule}")]
pub struct NameError {
    what: &'static str,
    rule: &'static str,
}

macro_rules! name {
    ($(#[$doc:meta])* $name:ident, $what:literal, $rule:literal, $valid:path) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Arc<str>);

        impl $name {
            pub fn new(text: impl AsRef<str> + Into<Arc<str>>) -> Result<Self, NameError> {
                if $valid(text.as_ref()) {
                    Ok(Self(text.into()))
                } else {
                    Err(NameError { what: $what, rule: $rule })
                }
            }

            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:?}", &*self.0)
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = NameError;
            fn from_str(text: &str) -> Result<Self, NameError> {
                Self::new(text)
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
                s.serialize_str(&self.0)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
                let text = std::borrow::Cow::<'de, str>::deserialize(d)?;
                Self::new(&*text).map_err(D::Error::custom)
            }
        }
    };
}

name!(
    /// An isolation boundary.
    TenantId, "tenant id", "matches [a-z0-9][a-z0-9._-]{0,62}", is_tenant_id
);
name!(
    /// A user within a tenant: the `sub` of its token, the `owner` of its jobs and events.
    UserId, "user", "is 1 to 255 visible characters without commas or spaces at its ends", is_label
);
name!(
    /// What a job or an event is about, such as `note/42`.
    Subject, "subject", "is 1 to 255 visible characters without commas or spaces at its ends", is_label
);
name!(
    /// What keeps a second live job of the same type and tenant from being made.
    UniqueKey, "unique key", "is 1 to 255 visible characters without commas or spaces at its ends", is_label
);
name!(
    /// How a worker calls itself.
    WorkerName, "worker name", "is 1 to 255 visible characters without commas or spaces at its ends", is_label
);
name!(
    /// What kind of work a job is: decides which workers may lease it.
    JobType, "job type", "matches [a-z0-9][a-z0-9._-]{0,62}", is_tenant_id
);
name!(
    /// What a schedule is called in its tenant, such as `reports.nightly`.
    ScheduleName, "schedule name", "matches [a-z0-9][a-z0-9._-]{0,62}", is_tenant_id
);

fn is_tenant_id(text: &str) -> bool {
    let bytes = text.as_bytes();
    (1..=63).contains(&bytes.len())
        && (bytes[0].is_ascii_lowercase() || bytes[0].is_ascii_digit())
        && bytes.iter().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"._-".contains(b))
}

fn is_label(text: &str) -> bool {
    (1..=255).contains(&text.len())
        && !text.chars().any(|c| c.is_control() || c == ',' || is_invisible(c))
        && !text.starts_with(char::is_whitespace)
        && !text.ends_with(char::is_whitespace)
}

/// Letters that print as nothing or turn the reading direction: two names that look alike would differ.
fn is_invisible(c: char) -> bool {
    matches!(c, '\u{200B}'..='\u{200F}' | '\u{2028}'..='\u{202E}' | '\u{2060}'..='\u{206F}' | '\u{FEFF}' | '\u{FFF9}'..='\u{FFFB}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tenant_ids_are_narrow() {
        for good in ["a", "0", "acme", "acme-1.eu_x", &"a".repeat(63)] {
            assert!(TenantId::new(good).is_ok(), "{good}");
        }
        for bad in ["", "-a", ".a", "A", "a b", "a/b", "é", &"a".repeat(64)] {
            assert!(TenantId::new(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn labels_carry_no_controls_and_no_commas() {
        for bad in ["", " a", "a ", "a,b", "a\nb", "a\0", "a\u{202E}b", &"é".repeat(128)] {
            assert!(Subject::new(bad).is_err(), "{bad:?}");
        }
        assert!(Subject::new("note/42 — draft").is_ok());
    }
}
