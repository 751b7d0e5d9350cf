//! `secret_stores`: how the node proves itself to the stores that references point to.

use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};

use super::decode::{Decoder, Field, Fields};
use super::secret::{Scheme, SecretValue};
use crate::strict::Mistake;
use crate::strict::url::BaseUrl;

/// The stores that need more than a reference says.
#[derive(Debug, Clone, Default, Serialize)]
pub struct SecretStores {
    /// What `ref+vault://` speaks to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub vault: Option<Vault>,
}

/// A Vault server.
#[derive(Debug, Clone)]
pub struct Vault {
    /// Its address; http only to the node itself (Vault's own agent).
    pub address: BaseUrl,
    /// How the node logs in.
    pub login: VaultLogin,
    /// The authority that its certificate is checked against; none: the system's.
    pub ca: Option<SecretValue>,
    /// The namespace of references that name none.
    pub namespace: Option<String>,
    /// Where the login method is mounted, when not under its own name.
    pub mount: Option<String>,
}

/// How a node logs in to Vault.
#[derive(Debug, Clone)]
pub enum VaultLogin {
    /// With a token.
    Token {
        /// The token.
        token: SecretValue,
    },
    /// With a role's id and secret id.
    AppRole {
        /// Which role; no secret by itself.
        role_id: SecretValue,
        /// What proves it.
        secret_id: SecretValue,
    },
    /// With a signed token of the cloud or an identity provider.
    Jwt {
        /// Which role.
        role: String,
        /// The signed token.
        jwt: SecretValue,
    },
}

/// In the form of the node config, where the login's keys stand beside the others.
impl Serialize for Vault {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("address", &self.address)?;
        match &self.login {
            VaultLogin::Token { token } => {
                map.serialize_entry("auth", "token")?;
                map.serialize_entry("token", token)?;
            }
            VaultLogin::AppRole { role_id, secret_id } => {
                map.serialize_entry("auth", "approle")?;
                map.serialize_entry("role_id", role_id)?;
                map.serialize_entry("secret_id", secret_id)?;
            }
            VaultLogin::Jwt { role, jwt } => {
                map.serialize_entry("auth", "jwt")?;
                map.serialize_entry("role", role)?;
                map.serialize_entry("jwt", jwt)?;
            }
        }
        if let Some(ca) = &self.ca {
            map.serialize_entry("ca", ca)?;
        }
        for (name, value) in [("namespace", &self.namespace), ("mount", &self.mount)] {
            if let Some(value) = value {
                map.serialize_entry(name, value)?;
            }
        }
        map.end()
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Method {
    Token,
    AppRole,
    Jwt,
}

const METHODS: [(&str, Method); 3] = [("token", Method::Token), ("approle", Method::AppRole), ("jwt", Method::Jwt)];

/// Which method a key belongs to.
const KEYS: [(&str, Method); 5] = [
    ("token", Method::Token),
    ("role_id", Method::AppRole),
    ("secret_id", Method::AppRole),
    ("role", Method::Jwt),
    ("jwt", Method::Jwt),
];

impl SecretStores {
    pub(super) fn decode(d: &mut Decoder, field: &Field<'_>) -> Option<Self> {
        let fields = d.fields(field, &["vault"])?;
        Some(Self { vault: d.maybe(&fields, "vault", Vault::decode)? })
    }
}

impl Vault {
    fn decode(d: &mut Decoder, field: &Field<'_>) -> Option<Self> {
        let mut known = vec!["address", "auth", "ca", "namespace", "mount"];
        known.extend(KEYS.map(|(name, _)| name));
        let fields = d.fields(field, &known)?;
        let address = d.need(&fields, "address", |d, f| d.parsed(f, address));
        let method = d.need(&fields, "auth", |d, f| d.choice(f, &METHODS));
        let login = method.and_then(|method| login(d, &fields, method));
        let ca = d.maybe(&fields, "ca", own_secret);
        let namespace = d.maybe(&fields, "namespace", |d, f| d.parsed(f, path));
        let mount = d.maybe(&fields, "mount", |d, f| d.parsed(f, path));
        Some(Self { address: address?, login: login?, ca: ca?, namespace: namespace?, mount: mount? })
    }
}

fn login(d: &mut Decoder, fields: &Fields<'_>, method: Method) -> Option<VaultLogin> {
    let mut whole = true;
    for (name, owner) in KEYS {
        if owner != method {
            let owner = METHODS.iter().find(|(_, known)| *known == owner).map_or("", |(name, _)| name);
            whole &= !d.unwanted(fields, name, format!("is only used with auth: {owner}"));
        }
    }
    let login = match method {
        Method::Token => {
            let token = d.need(fields, "token", own_secret);
            VaultLogin::Token { token: token? }
        }
        Method::AppRole => {
            let role_id = d.need(fields, "role_id", own_secret);
            let secret_id = d.need(fields, "secret_id", own_secret);
            VaultLogin::AppRole { role_id: role_id?, secret_id: secret_id? }
        }
        Method::Jwt => {
            let role = d.need(fields, "role", |d, f| d.parsed(f, path));
            let jwt = d.need(fields, "jwt", own_secret);
            VaultLogin::Jwt { role: role?, jwt: jwt? }
        }
    };
    whole.then_some(login)
}

/// A secret that opens Vault cannot itself be kept there.
fn own_secret(d: &mut Decoder, field: &Field<'_>) -> Option<SecretValue> {
    let users = d.more.vault_users.len();
    let value = d.secret(field)?;
    d.more.vault_users.truncate(users);
    match &value {
        SecretValue::Reference(reference) if reference.scheme() == Scheme::Vault => d.refuse(
            field,
            Mistake::new("cannot be kept in the Vault that it opens").hint("use ref+file:// or another store"),
        ),
        _ => Some(value),
    }
}

fn address(text: &str) -> Result<BaseUrl, Mistake> {
    let url = BaseUrl::parse(text)?;
    if !url.https && !url.is_loopback() {
        return Err(
            Mistake::new("would send secrets unencrypted").hint("use https://; http:// only to the node itself")
        );
    }
    Ok(url)
}

fn path(text: &str) -> Result<String, Mistake> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_-./".contains(c);
    let bad_part = |part: &str| part.is_empty() || part == "." || part == "..";
    if text.len() > 128 || !text.chars().all(plain) || text.split('/').any(bad_part) {
        return Err(Mistake::new("must be letters, digits and _ - . with single / between"));
    }
    Ok(text.to_owned())
}
