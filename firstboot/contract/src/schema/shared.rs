//! `tls` and `shared_secrets`: certificates and keys, this node's and the cluster's.

use serde::Serialize;

use super::decode::{Decoder, Field, Fields};
use super::secret::SecretValue;
use crate::strict::Mistake;

/// What this node serves https with.
#[derive(Debug, Clone, Serialize)]
pub struct ServerTls {
    /// The certificate, with the chain below it.
    pub certificate: SecretValue,
    /// Its private key.
    pub key: SecretValue,
}

/// Where the secrets come from that every node must have alike.
#[derive(Debug, Clone, Serialize)]
#[serde(tag = "from", rename_all = "lowercase")]
pub enum SharedSecrets {
    /// The share: the first node makes them, the others adopt them.
    Share {
        /// Whether to take them over from a cluster that was made by hand.
        adopt: bool,
    },
    /// The node config.
    Refs(Box<SharedValues>),
}

/// The shared secrets, each given.
#[derive(Debug, Clone, Serialize)]
pub struct SharedValues {
    /// Encrypts settings in the database.
    pub secretkey: SecretValue,
    /// Signs tokens: an RSA key in PKCS#1.
    pub private_key: SecretValue,
    /// The certificate of `private_key`, which the registry trusts.
    pub root_crt: SecretValue,
    /// What the core service is known by.
    pub core_secret: SecretValue,
    /// What the job service is known by; travels in job parameters.
    pub jobservice_secret: SecretValue,
    /// Guards forms against forgery.
    pub csrf_key: SecretValue,
    /// The password between core and registry.
    pub registry_password: SecretValue,
}

impl Default for SharedSecrets {
    fn default() -> Self {
        Self::Share { adopt: false }
    }
}

impl ServerTls {
    pub(super) fn decode(d: &mut Decoder, field: &Field<'_>) -> Option<Self> {
        let fields = d.fields(field, &["certificate", "key"])?;
        let certificate = d.need(&fields, "certificate", Decoder::secret);
        let key = d.need(&fields, "key", Decoder::secret);
        Some(Self { certificate: certificate?, key: key? })
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum From {
    Share,
    Refs,
}

const VALUES: [&str; 7] =
    ["secretkey", "private_key", "root_crt", "core_secret", "jobservice_secret", "csrf_key", "registry_password"];

impl SharedSecrets {
    pub(super) fn decode(d: &mut Decoder, field: &Field<'_>) -> Option<Self> {
        let mut known = vec!["from", "adopt"];
        known.extend(VALUES);
        let fields = d.fields(field, &known)?;
        let choices = [("share", From::Share), ("refs", From::Refs)];
        match d.or(&fields, "from", From::Share, |d, f| d.choice(f, &choices))? {
            From::Share => {
                let adopt = d.or(&fields, "adopt", false, Decoder::boolean);
                let mut whole = true;
                for name in VALUES {
                    let refusal = Mistake::new("is only used with from: refs").hint("set from: refs or leave it out");
                    whole &= !d.unwanted(&fields, name, refusal);
                }
                adopt.filter(|_| whole).map(|adopt| Self::Share { adopt })
            }
            From::Refs => {
                let refusal = Mistake::new("is only used with from: share").hint("with from: refs nothing is adopted");
                let unwanted = d.unwanted(&fields, "adopt", refusal);
                let values = SharedValues::decode(d, &fields);
                values.filter(|_| !unwanted).map(|values| Self::Refs(Box::new(values)))
            }
        }
    }
}

impl SharedValues {
    fn decode(d: &mut Decoder, fields: &Fields<'_>) -> Option<Self> {
        let secretkey = d.need(fields, "secretkey", Decoder::secret);
        let private_key = d.need(fields, "private_key", Decoder::secret);
        let root_crt = d.need(fields, "root_crt", Decoder::secret);
        let core_secret = d.need(fields, "core_secret", Decoder::secret);
        let jobservice_secret = d.need(fields, "jobservice_secret", Decoder::secret);
        let csrf_key = d.need(fields, "csrf_key", Decoder::secret);
        let registry_password = d.need(fields, "registry_password", Decoder::secret);
        Some(Self {
            secretkey: secretkey?,
            private_key: private_key?,
            root_crt: root_crt?,
            core_secret: core_secret?,
            jobservice_secret: jobservice_secret?,
            csrf_key: csrf_key?,
            registry_password: registry_password?,
        })
    }

    /// Each with its key.
    pub(super) fn each(&self) -> [(&'static str, &SecretValue); 7] {
        [
            ("secretkey", &self.secretkey),
            ("private_key", &self.private_key),
            ("root_crt", &self.root_crt),
            ("core_secret", &self.core_secret),
            ("jobservice_secret", &self.jobservice_secret),
            ("csrf_key", &self.csrf_key),
            ("registry_password", &self.registry_password),
        ]
    }
}
