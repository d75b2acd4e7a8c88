/// One URL for each address: those after the first take over its scheme and credential where they have
/// none of their own.
pub(super) fn split(addresses: &str) -> Vec<String> {
    let mut parts = addresses.split(',').map(str::trim);
    let first = parts.next().unwrap_or_default();
    let authority = first.find("://").map_or(0, |at| at + 3);
    let host = first[authority..].rfind('@').map_or(authority, |at| authority + at + 1);
    let complete = |part: &str| {
        if part.contains("://") { part.to_owned() } else { format!("{}{part}", &first[..host]) }
    };
    std::iter::once(first.to_owned()).chain(parts.map(complete)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_follows_takes_over_scheme_and_credential() {
        assert_eq!(split("redis://a"), ["redis://a"]);
        assert_eq!(
            split("rediss://u:p@a:1,b:2 , rediss://c"),
            ["rediss://u:p@a:1", "rediss://u:p@b:2", "rediss://c"]
        );
        assert_eq!(split("a,b"), ["a", "b"]);
    }
}
