//! Values that are secrets: given literally, or as a reference to where they are kept.
//!
//! References follow the convention of `vals`: `ref+SCHEME://PATH[?OPTION=VALUE…][#/KEY[/KEY…]]`.
//!
//! Invariant: nothing here prints a literal. The only way to one is `expose`, so that a search finds every use.

use std::fmt;

use serde::{Serialize, Serializer};

use crate::strict::url::{authority, decode_percent, encode_percent};
use crate::strict::{Mistake, nearest, unless_secret};

/// A secret: a literal or a reference. Prints a literal as `(secret)`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SecretValue {
    /// Written in the node config itself.
    Literal(Literal),
    /// Kept somewhere else.
    Reference(SecretRef),
}

impl SecretValue {
    pub(super) fn parse(text: &str) -> Result<Self, Mistake> {
        if text.starts_with("ref+") {
            return SecretRef::parse(text).map(Self::Reference);
        }
        if text.starts_with("secretref+") {
            return Err(Mistake::new("secretref+ is not read here").hint("write ref+"));
        }
        if text.is_empty() {
            return Err(Mistake::new("is empty").hint("give a value or a reference, or leave the key out"));
        }
        Ok(Self::Literal(Literal(text.to_owned())))
    }
}

impl fmt::Display for SecretValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Literal(literal) => literal.fmt(f),
            Self::Reference(reference) => reference.fmt(f),
        }
    }
}

/// Writes what `Display` prints: a serialised node config holds no secret.
impl Serialize for SecretValue {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// A secret that stands in the node config itself.
#[derive(Clone, PartialEq, Eq)]
pub struct Literal(String);

impl Literal {
    /// The secret itself: not for messages, command lines or environments.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Literal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(secret)")
    }
}

impl fmt::Display for Literal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(secret)")
    }
}

/// The kinds of stores.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Scheme {
    /// A file on the node.
    File,
    /// An https server.
    Https,
    /// HashiCorp Vault's or OpenBao's key-value store, version 1 or 2.
    Vault,
    /// AWS Secrets Manager.
    AwsSecrets,
    /// AWS Systems Manager's parameter store.
    AwsSsm,
}

/// Name, scheme and the options it knows. An https address keeps all of its query but the two options of ours.
const SCHEMES: [(&str, Scheme, &[&str]); 5] = [
    ("file", Scheme::File, &[]),
    ("https", Scheme::Https, &["ca_file", "token_file"]),
    ("vault", Scheme::Vault, &["namespace", "version"]),
    ("awssecrets", Scheme::AwsSecrets, &["region", "version_id", "version_stage"]),
    ("awsssm", Scheme::AwsSsm, &["region"]),
];

const LATER: [&str; 2] = ["gcpsecrets", "azurekeyvault"];

impl Scheme {
    /// The word between `ref+` and `://`.
    #[must_use]
    pub fn name(self) -> &'static str {
        SCHEMES.iter().find(|(_, scheme, _)| *scheme == self).map_or("", |(name, ..)| name)
    }
}

/// Where a secret is kept. Prints as it was written, except values of an https query, which may hold tokens.
#[derive(Clone, PartialEq, Eq)]
pub struct SecretRef {
    scheme: Scheme,
    path: String,
    options: Vec<(String, String)>,
    pointer: Vec<String>,
}

impl SecretRef {
    /// Where it is kept.
    #[must_use]
    pub fn scheme(&self) -> Scheme {
        self.scheme
    }

    /// The path in the store, decoded; for https, `HOST[:PORT]/PATH` as written.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.path
    }

    /// An option's value. For https: `ca_file` and `token_file` are options, the rest is the address's query.
    #[must_use]
    pub fn option(&self, name: &str) -> Option<&str> {
        self.options.iter().find(|(option, _)| option == name).map(|(_, value)| value.as_str())
    }

    /// The address's own query for https, as written and in order.
    pub fn query(&self) -> impl Iterator<Item = (&str, &str)> {
        let own = self.options_known();
        let foreign = move |option: &&(String, String)| !own.contains(&option.0.as_str());
        self.options.iter().filter(foreign).map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// The keys that lead into a JSON or YAML value; empty: the value as a whole.
    #[must_use]
    pub fn pointer(&self) -> &[String] {
        &self.pointer
    }

    /// What is asked for: the reference without the keys that lead into the answer.
    #[must_use]
    pub fn address(&self) -> Self {
        Self { pointer: Vec::new(), ..self.clone() }
    }

    fn options_known(&self) -> &'static [&'static str] {
        SCHEMES.iter().find(|(_, scheme, _)| *scheme == self.scheme).map_or(&[], |(.., options)| options)
    }

    pub(super) fn parse(text: &str) -> Result<Self, Mistake> {
        if text.chars().any(|c| c.is_whitespace() || c.is_control()) {
            return Err(Mistake::new("a reference holds no blanks or line breaks").hint("write a blank as %20"));
        }
        let rest = text.strip_prefix("ref+").unwrap_or(text);
        let Some((name, rest)) = rest.split_once("://") else {
            return Err(Mistake::new("is not a reference")
                .hint("ref+SCHEME://PATH#/KEY, such as ref+vault://secret/harbor#/ceph"));
        };
        let (scheme, known) = scheme(name)?;
        let (rest, fragment) = match rest.split_once('#') {
            Some((rest, fragment)) => (rest, Some(fragment)),
            None => (rest, None),
        };
        let (path, query) = match rest.split_once('?') {
            Some((path, query)) => (path, query),
            None => (rest, ""),
        };
        let reference = Self {
            scheme,
            path: if scheme == Scheme::Https { path.to_owned() } else { decode_percent(path)? },
            options: options(scheme, known, query)?,
            pointer: fragment.map_or(Ok(Vec::new()), pointer)?,
        };
        reference.check()?;
        Ok(reference)
    }

    fn check(&self) -> Result<(), Mistake> {
        let path = self.path.as_str();
        let climbs = path.split('/').any(|part| part == ".." || part == ".");
        match self.scheme {
            Scheme::File if !path.starts_with('/') => {
                Err(Mistake::new("the file's path must be absolute")
                    .hint("three slashes: ref+file:///etc/habuild/NAME"))
            }
            Scheme::File if path.ends_with('/') || climbs => Err(Mistake::new("is not the clean path of a file")),
            Scheme::Https => {
                let (host, _) = path.split_once('/').unwrap_or((path, ""));
                if host.contains('@') {
                    return Err(Mistake::new("an address holds no user or password")
                        .hint("put a token in a file: ?token_file=/PATH"));
                }
                authority(host).map(|_| ())?;
                ["ca_file", "token_file"].into_iter().filter_map(|name| Some((name, self.option(name)?))).try_for_each(
                    |(name, file)| match file.starts_with('/') {
                        true => Ok(()),
                        false => Err(Mistake::new(format!("{name} must be an absolute path"))),
                    },
                )
            }
            Scheme::Vault if self.pointer.is_empty() => {
                Err(Mistake::new("names no key of the Vault secret").hint("add one: #/KEY"))
            }
            Scheme::Vault if path.starts_with('/') || path.ends_with('/') || !path.contains('/') || climbs => {
                Err(Mistake::new("is not the path of a Vault secret")
                    .hint("MOUNT/PATH, such as ref+vault://secret/harbor#/ceph"))
            }
            _ if path.is_empty() => Err(Mistake::new(format!("names no secret after ref+{}://", self.scheme.name()))),
            _ => Ok(()),
        }
    }
}

fn scheme(name: &str) -> Result<(Scheme, &'static [&'static str]), Mistake> {
    if let Some((_, scheme, options)) = SCHEMES.iter().find(|(known, ..)| *known == name) {
        return Ok((*scheme, options));
    }
    if name == "http" {
        return Err(Mistake::new("ref+http:// would fetch the secret unencrypted").hint("use ref+https://"));
    }
    if LATER.contains(&name) {
        return Err(Mistake::new(format!("ref+{name}:// is not in this version")));
    }
    let names = SCHEMES.map(|(name, ..)| name);
    let message = format!("unknown kind of reference {}", unless_secret(name));
    Err(match nearest(name, names.iter().copied()) {
        Some(near) => Mistake::new(message).hint(format!("did you mean ref+{near}://?")),
        None => Mistake::new(message).hint(format!("known: {}", names.join(", "))),
    })
}

fn options(scheme: Scheme, known: &[&str], query: &str) -> Result<Vec<(String, String)>, Mistake> {
    let mut options: Vec<(String, String)> = Vec::new();
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        if known.contains(&name) {
            if value.is_empty() {
                return Err(Mistake::new(format!("option {name} is empty")));
            }
            if options.iter().any(|(given, _)| given == name) {
                return Err(Mistake::new(format!("option {name} is given twice")));
            }
            options.push((name.to_owned(), decode_percent(value)?));
        } else if scheme == Scheme::Https {
            options.push((name.to_owned(), value.to_owned()));
        } else if scheme == Scheme::Vault
            && ["address", "auth_method", "role_id", "secret_id", "token_env", "token_file"].contains(&name)
        {
            return Err(Mistake::new(format!("option {name} belongs elsewhere")).hint("see secret_stores.vault"));
        } else if known.is_empty() {
            return Err(Mistake::new(format!("ref+{}:// takes no options", scheme.name())));
        } else {
            return Err(Mistake::new(format!("unknown option {}", unless_secret(name))).did_you_mean(name, known));
        }
    }
    Ok(options)
}

fn pointer(fragment: &str) -> Result<Vec<String>, Mistake> {
    let advice = "#/KEY, or #/KEY/KEY for a value inside a value";
    let Some(keys) = fragment.strip_prefix('/') else {
        return Err(Mistake::new("what follows # must begin with /").hint(advice));
    };
    let keys: Vec<String> = keys.split('/').map(decode_percent).collect::<Result<_, _>>()?;
    if keys.iter().any(String::is_empty) {
        return Err(Mistake::new("a key after # is empty").hint(advice));
    }
    Ok(keys)
}

impl fmt::Display for SecretRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let known = self.options_known();
        match self.scheme {
            Scheme::Https => write!(f, "ref+https://{}", self.path)?,
            scheme => write!(f, "ref+{}://{}", scheme.name(), encode_percent(&self.path))?,
        }
        for (i, (name, value)) in self.options.iter().enumerate() {
            let mark = if i == 0 { '?' } else { '&' };
            match known.contains(&name.as_str()) {
                true => write!(f, "{mark}{name}={}", encode_percent(value))?,
                // A query without = may be a token as a whole.
                false if value.is_empty() => write!(f, "{mark}(hidden)")?,
                false => write!(f, "{mark}{name}=(hidden)")?,
            }
        }
        for (i, key) in self.pointer.iter().enumerate() {
            write!(f, "{}{}", if i == 0 { "#/" } else { "/" }, encode_percent(key))?;
        }
        Ok(())
    }
}

impl fmt::Debug for SecretRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_print_as_they_were_written() {
        for text in [
            "ref+file:///run/secrets/ceph",
            "ref+file:///run/secrets/all.yaml#/harbor/admin",
            "ref+file:///run/a%20b#/x%23y",
            "ref+https://secrets.internal:8443/harbor?ca_file=/etc/ca.pem&token_file=/etc/token#/key",
            "ref+vault://secret/harbor#/ceph",
            "ref+vault://kv/team/harbor?namespace=a&version=3#/a/b",
            "ref+awssecrets://harbor/ceph?region=eu-central-1",
            "ref+awssecrets://arn:aws:secretsmanager:eu-central-1:1:secret:harbor-x",
            "ref+awsssm://harbor/redis#/key",
        ] {
            assert_eq!(SecretRef::parse(text).unwrap().to_string(), text);
        }
    }

    #[test]
    fn a_reference_is_taken_apart() {
        let reference = SecretRef::parse("ref+https://h/p?a=1&ca_file=/c&b=2#/x/y").unwrap();
        assert_eq!((reference.scheme(), reference.path()), (Scheme::Https, "h/p"));
        assert_eq!((reference.option("ca_file"), reference.option("token_file")), (Some("/c"), None));
        assert_eq!(reference.query().collect::<Vec<_>>(), [("a", "1"), ("b", "2")]);
        assert_eq!(reference.pointer(), ["x", "y"]);
        let shown = format!("{reference} {reference:?}");
        assert_eq!(shown.matches("?a=(hidden)&ca_file=/c&b=(hidden)#/x/y").count(), 2, "{shown}");
    }

    #[test]
    fn bad_references_are_refused_without_being_repeated() {
        for (text, expected) in [
            ("ref+vault:/secret/harbor", "is not a reference"),
            ("ref+vualt://secret/harbor#/a", "unknown kind of reference \"vualt\""),
            ("ref+s3cret==://x", "unknown kind of reference (8 characters)"),
            ("ref+http://s3cret/x", "unencrypted"),
            ("ref+gcpsecrets://x", "not in this version"),
            ("ref+azurekeyvault://x", "not in this version"),
            ("ref+file://s3cret", "must be absolute"),
            ("ref+file:///a/../s3cret", "clean path"),
            ("ref+file:///s3cret?x=y", "takes no options"),
            ("ref+file:///a b", "no blanks"),
            ("ref+file:///a%zz", "begins no escape"),
            ("ref+file:///a%0a", "control character"),
            ("ref+file:///s3cret#key", "must begin with /"),
            ("ref+file:///s3cret#/", "is empty"),
            ("ref+https://u:s3cret@h/x", "no user or password"),
            ("ref+https:///x", "the host is missing"),
            ("ref+https://h/x?ca_file=ca.pem", "ca_file must be an absolute path"),
            ("ref+vault://secret/harbor", "names no key"),
            ("ref+vault://harbor#/s3cret", "is not the path of a Vault secret"),
            ("ref+vault://secret/harbor?token_file=/s3cret#/a", "belongs elsewhere"),
            ("ref+vault://secret/harbor?version=1&version=2#/a", "given twice"),
            ("ref+awssecrets://", "names no secret"),
            ("ref+awsssm://x?region=", "is empty"),
            ("ref+awsssm://x?regoin=s3cret", "unknown option \"regoin\""),
        ] {
            let refusal = SecretRef::parse(text).unwrap_err();
            assert!(refusal.message.contains(expected), "{text}: {refusal:?}");
            assert!(!format!("{refusal:?}").contains("s3cret"), "{refusal:?}");
        }
    }

    #[test]
    fn a_literal_is_never_printed() {
        let value = SecretValue::parse("s3cret").unwrap();
        assert_eq!(format!("{value} {value:?} {value:#?}").matches("s3cret").count(), 0);
        assert!(SecretValue::parse("").is_err());
        assert!(SecretValue::parse("secretref+vault://a/b#/c").is_err());
    }
}
