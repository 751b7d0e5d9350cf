//! Hosts, ports, addresses and percent escapes, as far as a node config needs them.

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};

use serde::{Serialize, Serializer};

use super::Mistake;

/// `http://HOST[:PORT]` or `https://HOST[:PORT]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BaseUrl {
    /// Whether it is https.
    pub https: bool,
    /// Host name, IPv4 address, or IPv6 address in brackets.
    pub host: String,
    /// The port, where one is given.
    pub port: Option<u16>,
}

impl fmt::Display for BaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", if self.https { "https" } else { "http" }, self.host)?;
        self.port.map_or(Ok(()), |port| write!(f, ":{port}"))
    }
}

impl Serialize for BaseUrl {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl BaseUrl {
    /// Takes a URL apart.
    ///
    /// # Errors
    /// What keeps it from being one. No message repeats it: it may hold a password.
    pub fn parse(text: &str) -> Result<Self, Mistake> {
        let (https, rest) = match text.split_once("://") {
            Some(("http", rest)) => (false, rest),
            Some(("https", rest)) => (true, rest),
            Some(_) => return Err(Mistake::new("must begin with http:// or https://")),
            None => return Err(Mistake::new("is not a URL").hint("http://HOST[:PORT] or https://HOST[:PORT]")),
        };
        if rest.contains('@') {
            return Err(Mistake::new("must hold no user or password"));
        }
        if let Some(stripped) = rest.strip_suffix('/')
            && !stripped.contains(['/', '?', '#'])
        {
            return Err(Mistake::new("must hold no path").hint("leave out the / at the end"));
        }
        if rest.contains(['/', '?', '#']) {
            return Err(Mistake::new("must hold no path, only scheme, host and port"));
        }
        let (host, port) = authority(rest)?;
        Ok(Self { https, host, port })
    }

    /// Whether the host is the machine itself.
    pub fn is_loopback(&self) -> bool {
        is_loopback(&self.host)
    }
}

/// Whether a host, as `authority` or `host` give it, is the machine itself.
pub fn is_loopback(host: &str) -> bool {
    let bare = host.trim_matches(['[', ']']);
    host == "localhost"
        || bare.parse::<Ipv4Addr>().is_ok_and(|address| address.is_loopback() || address.is_unspecified())
        || bare.parse::<Ipv6Addr>().is_ok_and(|address| address.is_loopback() || address.is_unspecified())
}

/// `HOST[:PORT]`, where an IPv6 address stands in brackets.
pub fn authority(text: &str) -> Result<(String, Option<u16>), Mistake> {
    let (host, port) = if let Some(rest) = text.strip_prefix('[') {
        match rest.split_once(']') {
            Some((inside, "")) => (format!("[{inside}]"), None),
            Some((inside, after)) => match after.strip_prefix(':') {
                Some(port) => (format!("[{inside}]"), Some(port)),
                None => return Err(Mistake::new("what follows ] must be a colon and a port")),
            },
            None => return Err(Mistake::new("the [ of an IPv6 address is not closed")),
        }
    } else if text.parse::<Ipv6Addr>().is_ok() {
        return Err(Mistake::new("an IPv6 address needs brackets").hint("[ADDRESS] or [ADDRESS]:PORT"));
    } else {
        match text.split_once(':') {
            Some((host, port)) => (host.to_owned(), Some(port)),
            None => (text.to_owned(), None),
        }
    };
    let host = match host.strip_prefix('[') {
        Some(_) if host.trim_matches(['[', ']']).parse::<Ipv6Addr>().is_ok() => host,
        Some(_) => return Err(Mistake::new("no IPv6 address stands in the brackets")),
        None => host_name(&host)?,
    };
    let port = match port {
        None => None,
        Some(port) if port.starts_with(|c: char| c.is_ascii_digit()) => {
            let number = port.parse::<u16>().ok().filter(|number| *number > 0);
            Some(number.ok_or_else(|| Mistake::new("the port must be a number from 1 to 65535"))?)
        }
        Some(_) => return Err(Mistake::new("the port must be a number from 1 to 65535")),
    };
    Ok((host, port))
}

/// A host without a port: name, IPv4 address, or IPv6 address (brackets or not; given back without).
pub fn host(text: &str) -> Result<String, Mistake> {
    let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
    if bare.parse::<Ipv6Addr>().is_ok() {
        return Ok(bare.to_owned());
    }
    if text.contains("://") || text.contains('/') {
        return Err(Mistake::new("must be a host, not a URL").hint("only the name or the address"));
    }
    if let Some((name, port)) = text.split_once(':')
        && port.parse::<u16>().is_ok()
        && host_name(name).is_ok()
    {
        return Err(Mistake::new("must be a host without a port").hint("the port has a key of its own"));
    }
    host_name(text)
}

/// A host name or an IPv4 address.
fn host_name(text: &str) -> Result<String, Mistake> {
    if text.is_empty() {
        return Err(Mistake::new("the host is missing"));
    }
    let numeric = text.chars().all(|c| c.is_ascii_digit() || c == '.');
    if numeric {
        return match text.parse::<Ipv4Addr>() {
            Ok(_) => Ok(text.to_owned()),
            Err(_) => Err(Mistake::new("is not an IPv4 address")),
        };
    }
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.chars().all(|c| c.is_ascii_alphanumeric() || c == '-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    let name = text.strip_suffix('.').unwrap_or(text);
    if name.len() > 253 || !name.split('.').all(label) {
        return Err(Mistake::new("the host is no valid name").hint("letters, digits, hyphens and dots"));
    }
    Ok(text.to_owned())
}

/// Undoes `%XX`.
pub fn decode_percent(text: &str) -> Result<String, Mistake> {
    let broken = || Mistake::new("holds a % that begins no escape").hint("write a % as %25");
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let digit = |byte: Option<u8>| byte.and_then(|byte| char::from(byte).to_digit(16)).ok_or_else(broken);
        let value = digit(rest.next())? * 16 + digit(rest.next())?;
        bytes.push(u8::try_from(value).unwrap_or_default());
    }
    let text = String::from_utf8(bytes).map_err(|_| broken())?;
    if text.contains(|c: char| c.is_control()) {
        return Err(Mistake::new("a % escape stands for a control character"));
    }
    Ok(text)
}

/// The opposite, for printing: only what would be misread is escaped.
pub fn encode_percent(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for c in text.chars() {
        if "%#?&".contains(c) || c.is_whitespace() {
            let mut buffer = [0; 4];
            for byte in c.encode_utf8(&mut buffer).bytes() {
                encoded.push_str(&format!("%{byte:02X}"));
            }
        } else {
            encoded.push(c);
        }
    }
    encoded
}
