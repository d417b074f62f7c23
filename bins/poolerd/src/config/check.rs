//! What one key alone cannot tell: values this version refuses.

use sluice_cli::settings::{Value, Values};

use super::types::AuthType;

/// Refuses values that load but would not do what they promise.
///
/// # Errors
/// What is not supported.
pub(super) fn global(values: &Values) -> Result<(), String> {
    let word =
        if let Value::Word(word) = values.value("auth_type") { AuthType::from_word(word) } else { None };
    match word {
        Some(kind @ (AuthType::Cert | AuthType::Hba | AuthType::Ldap | AuthType::Pam)) => Err(format!(
            "auth_type {} is not supported yet, use trust, plain, md5, scram-sha-256 or any",
            kind.word()
        )),
        _ => Ok(()),
    }
}
