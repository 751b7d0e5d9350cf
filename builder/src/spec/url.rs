//! What a URL in a spec may be. No message repeats the URL: it may hold a password.

use contract::strict::{Mistake, url};

/// Which schemes are taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scheme {
    /// Package archives: their content is signed.
    HttpOrHttps,
    /// Files.
    HttpsOnly,
}

/// Checks a URL's form: scheme, host, no user or password, nothing that a URL cannot hold.
pub(crate) fn parse_url(text: &str, scheme: Scheme) -> Result<String, Mistake> {
    let wanted = match scheme {
        Scheme::HttpOrHttps => "write it as http://HOST/PATH or https://HOST/PATH",
        Scheme::HttpsOnly => "write it as https://HOST/PATH",
    };
    let rest = match (text.strip_prefix("https://"), text.strip_prefix("http://")) {
        (Some(rest), _) => rest,
        (None, Some(_)) if scheme == Scheme::HttpsOnly => {
            return Err(Mistake::new("http:// is refused for a file").hint("use https://"));
        }
        (None, Some(rest)) => rest,
        (None, None) => return Err(Mistake::new("not a URL that habuild can fetch").hint(wanted)),
    };
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    if authority.contains('@') {
        return Err(Mistake::new("a URL with a user or password in it is a secret in a file that everyone reads")
            .hint("remove what stands before the @"));
    }
    if text.bytes().any(|b| !b.is_ascii_graphic() || matches!(b, b'"' | b'<' | b'>' | b'\\' | b'`')) {
        return Err(Mistake::new("the URL holds a character that no URL can").hint("percent-encode it"));
    }
    url::authority(authority).map_err(|mistake| match mistake.hint {
        Some(_) => mistake,
        None => mistake.hint(wanted),
    })?;
    if text.contains('#') || (scheme == Scheme::HttpOrHttps && text.contains('?')) {
        return Err(Mistake::new("the URL has a query or fragment").hint("end it after the path"));
    }
    Ok(text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn good_urls_pass() {
        for text in
            ["https://mirror.example/debian", "http://10.0.0.1:8080/", "https://[fd00::1]:3142/u", "http://m:80"]
        {
            assert_eq!(parse_url(text, Scheme::HttpOrHttps).as_deref(), Ok(text));
        }
        assert!(parse_url("https://host.example/f?download=1", Scheme::HttpsOnly).is_ok());
    }

    #[test]
    fn bad_urls_are_refused() {
        for text in [
            "",
            "mirror.example",
            "ftp://m/x",
            "https://",
            "https:///x",
            "https://m:0/",
            "https://m:99999/",
            "https://m:/",
            "https://a b/",
            "https://m/é",
            "https://[::1/",
            "https://[::1]x/",
            "https://[x]/",
            "https://m..example/",
            "https://m/#x",
            "https://m/?q",
            "HTTPS://m/",
        ] {
            assert!(parse_url(text, Scheme::HttpOrHttps).is_err(), "{text}");
        }
        assert!(parse_url("http://m/x", Scheme::HttpsOnly).is_err());
    }

    #[test]
    fn a_password_is_refused_and_not_repeated() {
        for text in ["https://me:hunter2@m/x", "http://hunter2@m", "https://hunter2@", "https://me:hunter2@m/é x"] {
            let said = parse_url(text, Scheme::HttpOrHttps).expect_err("a secret is refused").to_string();
            assert!(said.contains("is a secret") && !said.contains("hunter2"), "{said}");
        }
        for text in ["ftp://me:hunter2@m/x", "hunter2", "https://m/#hunter2", "https://m/hunter2 x"] {
            let said = parse_url(text, Scheme::HttpOrHttps).expect_err("this is no good URL").to_string();
            assert!(!said.contains("hunter2"), "{said}");
        }
    }
}
