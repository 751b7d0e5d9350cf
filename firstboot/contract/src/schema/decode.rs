//! What reading a node config needs besides the strict reader: secrets, and rules between keys.

use super::literal;
use super::secret::{Scheme, SecretValue};
use crate::strict::{Place, Reader};

pub(super) use crate::strict::{Field, Fields};

/// The reader of node configs.
pub(super) type Decoder = Reader<Noted>;

/// A port that this node listens on.
pub(super) struct NodePort {
    /// Whether it was given; otherwise it is the default.
    pub(super) given: bool,
    pub(super) port: u16,
    pub(super) key: String,
    pub(super) place: Place,
}

/// What rules between keys are judged by, when everything was read.
#[derive(Default)]
pub(super) struct Noted {
    /// Keys whose references need `secret_stores.vault`.
    pub(super) vault_users: Vec<(Place, String)>,
    /// Ports that this node listens on.
    pub(super) node_ports: Vec<NodePort>,
}

impl Decoder {
    /// A port.
    pub(super) fn port(&mut self, field: &Field<'_>) -> Option<u16> {
        self.number(field, 1, u32::from(u16::MAX)).and_then(|port| u16::try_from(port).ok())
    }

    /// Notes that this node will listen on a port.
    pub(super) fn listens(&mut self, fields: &Fields<'_>, name: &str, port: Option<u16>) {
        let Some(port) = port else { return };
        let place = fields.get(name).map_or(fields.at(), |field| field.node.place);
        self.more.node_ports.push(NodePort { given: fields.has(name), port, key: fields.path(name), place });
    }

    /// A literal or a reference; a literal is judged by its key's rule.
    pub(super) fn secret(&mut self, field: &Field<'_>) -> Option<SecretValue> {
        let value = self.parsed(field, SecretValue::parse)?;
        match &value {
            SecretValue::Literal(literal) => {
                let outcome = literal::check(&field.key, literal.expose());
                self.accept(field, outcome)?;
            }
            SecretValue::Reference(reference) if reference.scheme() == Scheme::Vault => {
                self.more.vault_users.push((field.node.place, field.key.clone()));
            }
            SecretValue::Reference(_) => {}
        }
        Some(value)
    }
}
