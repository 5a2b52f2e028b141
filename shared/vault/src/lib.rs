//! Envelope encryption at rest: of the secrets of deployments, of connections, of hooks and of stored variables.
//!
//! Each text is sealed with its own data key by AES-256-GCM. The data key is stored beside the text, wrapped by the
//! master key. The master key is a KMS key in AWS and a file in the local stack; nothing else differs. The text is
//! bound to its context (account and deployment, connection, hook or variable), and can't be opened in another one.
//!
//! Sealed form: version (1 byte), length of the wrapped data key (2 bytes, big endian), wrapped data key,
//! ciphertext with its tag.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use aws_sdk_kms::Client;
use aws_sdk_kms::error::{BoxError, ProvideErrorMetadata, SdkError};
use aws_sdk_kms::primitives::Blob;
use aws_sdk_kms::types::DataKeySpec;
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use shared::settings::{MissingSetting, VARIABLES_KEY};
use shared::{App, aws};

const VERSION: u8 = 1;
const KEY_BYTES: usize = 32;

/// Seals and opens texts under one master key.
#[derive(Debug)]
pub struct Vault(MasterKey);

#[derive(Debug)]
enum MasterKey {
    Kms { client: Client, key_id: String },
    Local(Box<LessSafeKey>),
}

/// The reasons why the vault fails.
#[allow(missing_docs, reason = "the message of each variant describes it")]
#[derive(Debug, thiserror::Error)]
pub enum VaultError {
    #[error(transparent)]
    Missing(#[from] MissingSetting),
    #[error("VARIABLES_KEY must be 'kms:<key ARN>' or 'file:<path>'")]
    UnknownKind,
    #[error("the key file {} can't be read or does not contain 32 bytes", .0.display())]
    KeyFile(PathBuf, #[source] Option<std::io::Error>),
    #[error("KMS failed ({code})")]
    Kms { code: String, source: BoxError },
    #[error("the sealed text is damaged or belongs to another context")]
    Sealed,
}

impl VaultError {
    fn of_kms<E>(error: SdkError<E>) -> Self
    where
        E: ProvideErrorMetadata + std::error::Error + Send + Sync + 'static,
    {
        Self::Kms { code: aws::code_of(&error).to_owned(), source: error.into() }
    }

    /// Returns whether the operation can succeed later: KMS was not reached, was busy or did not answer in time.
    #[must_use]
    pub fn is_passing(&self) -> bool {
        matches!(self, Self::Kms { code, .. } if aws::is_passing(code))
    }
}

impl Vault {
    /// # Errors
    /// Fails if `VARIABLES_KEY` is missing or invalid.
    pub fn new(app: &App) -> Result<Self, VaultError> {
        let setting = app.settings().require(VARIABLES_KEY)?;
        match setting.split_once(':') {
            Some(("kms", key_id)) => {
                let client = Client::new(&app.aws().client("AWS_ENDPOINT_URL_KMS"));
                Ok(Self(MasterKey::Kms { client, key_id: key_id.to_owned() }))
            }
            Some(("file", path)) => Self::local(Path::new(path)),
            _ => Err(VaultError::UnknownKind),
        }
    }

    fn local(path: &Path) -> Result<Self, VaultError> {
        let bytes = std::fs::read(path).map_err(|error| VaultError::KeyFile(path.to_owned(), Some(error)))?;
        let key = UnboundKey::new(&AES_256_GCM, &bytes).map_err(|_| VaultError::KeyFile(path.to_owned(), None))?;
        Ok(Self(MasterKey::Local(Box::new(LessSafeKey::new(key)))))
    }

    /// Encrypts a text for a context.
    ///
    /// # Errors
    /// Fails if KMS fails.
    pub async fn seal(&self, context: &str, text: &[u8]) -> Result<Vec<u8>, VaultError> {
        let (data_key, wrapped) = self.0.new_data_key(context).await?;
        let mut ciphertext = text.to_vec();
        data_key
            .seal_in_place_append_tag(only_nonce(), Aad::from(context), &mut ciphertext)
            .map_err(|_| VaultError::Sealed)?;
        let length = u16::try_from(wrapped.len()).map_err(|_| VaultError::Sealed)?;
        let mut sealed = vec![VERSION];
        sealed.extend_from_slice(&length.to_be_bytes());
        sealed.extend_from_slice(&wrapped);
        sealed.extend_from_slice(&ciphertext);
        Ok(sealed)
    }

    /// Decrypts a sealed text.
    ///
    /// # Errors
    /// Fails with [`VaultError::Sealed`] if the text was changed or was sealed for another context.
    pub async fn open(&self, context: &str, sealed: &[u8]) -> Result<Vec<u8>, VaultError> {
        let Some(([VERSION, high, low], rest)) = sealed.split_first_chunk() else { return Err(VaultError::Sealed) };
        let length = usize::from(u16::from_be_bytes([*high, *low]));
        let (wrapped, ciphertext) = rest.split_at_checked(length).ok_or(VaultError::Sealed)?;
        let data_key = self.0.unwrap_data_key(context, wrapped).await?;
        let mut text = ciphertext.to_vec();
        let opened = data_key.open_in_place(only_nonce(), Aad::from(context), &mut text);
        let length = opened.map_err(|_| VaultError::Sealed)?.len();
        text.truncate(length);
        Ok(text)
    }

    /// Moves a sealed text from one context to another.
    ///
    /// # Errors
    /// Fails if the text can't be opened or KMS fails.
    pub async fn reseal(&self, from: &str, to: &str, sealed: &[u8]) -> Result<Vec<u8>, VaultError> {
        let text = self.open(from, sealed).await?;
        self.seal(to, &text).await
    }
}

impl MasterKey {
    async fn new_data_key(&self, context: &str) -> Result<(LessSafeKey, Vec<u8>), VaultError> {
        match self {
            Self::Kms { client, key_id } => {
                let made = client
                    .generate_data_key()
                    .key_id(key_id)
                    .key_spec(DataKeySpec::Aes256)
                    .set_encryption_context(Some(encryption_context(context)))
                    .send()
                    .await
                    .map_err(VaultError::of_kms)?;
                let plain = made.plaintext.ok_or(VaultError::Sealed)?;
                let wrapped = made.ciphertext_blob.ok_or(VaultError::Sealed)?;
                Ok((data_key(plain.as_ref())?, wrapped.into_inner()))
            }
            Self::Local(master) => {
                let (mut nonce, mut plain) = ([0u8; NONCE_LEN], [0u8; KEY_BYTES]);
                getrandom::fill(&mut nonce).expect("the operating system gives random bytes");
                getrandom::fill(&mut plain).expect("the operating system gives random bytes");
                let mut wrapped = plain.to_vec();
                master
                    .seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), Aad::from(context), &mut wrapped)
                    .map_err(|_| VaultError::Sealed)?;
                Ok((data_key(&plain)?, [&nonce[..], &wrapped].concat()))
            }
        }
    }

    async fn unwrap_data_key(&self, context: &str, wrapped: &[u8]) -> Result<LessSafeKey, VaultError> {
        match self {
            Self::Kms { client, key_id } => {
                let opened = client
                    .decrypt()
                    .key_id(key_id)
                    .ciphertext_blob(Blob::new(wrapped))
                    .set_encryption_context(Some(encryption_context(context)))
                    .send()
                    .await
                    .map_err(VaultError::of_kms)?;
                data_key(opened.plaintext.ok_or(VaultError::Sealed)?.as_ref())
            }
            Self::Local(master) => {
                let (nonce, wrapped) = wrapped.split_first_chunk().ok_or(VaultError::Sealed)?;
                let mut plain = wrapped.to_vec();
                let opened = master.open_in_place(Nonce::assume_unique_for_key(*nonce), Aad::from(context), &mut plain);
                data_key(opened.map_err(|_| VaultError::Sealed)?)
            }
        }
    }
}

fn data_key(bytes: &[u8]) -> Result<LessSafeKey, VaultError> {
    UnboundKey::new(&AES_256_GCM, bytes).map(LessSafeKey::new).map_err(|_| VaultError::Sealed)
}

/// The nonce of a data key. It never repeats, because a data key encrypts one text only.
fn only_nonce() -> Nonce {
    Nonce::assume_unique_for_key([0; NONCE_LEN])
}

/// Returns the encryption context. KMS writes it to CloudTrail, and it contains no secret: an account and a resource, by the kind of
/// the resource.
fn encryption_context(context: &str) -> HashMap<String, String> {
    let kind = match context {
        _ if context.contains("/conn_") => "connection",
        _ if context.contains("/variables/") => "variable",
        _ => "deployment",
    };
    HashMap::from([(kind.to_owned(), context.to_owned())])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vault() -> Vault {
        Vault(MasterKey::Local(Box::new(data_key(&[7; KEY_BYTES]).unwrap())))
    }

    #[tokio::test]
    async fn what_is_sealed_opens_in_its_own_context_only() {
        let sealed = vault().seal("acct_a/deploy_b", b"{\"TOKEN\":\"hunter2\"}").await.unwrap();
        assert!(!sealed.windows(7).any(|window| window == b"hunter2"));
        assert_eq!(vault().open("acct_a/deploy_b", &sealed).await.unwrap(), b"{\"TOKEN\":\"hunter2\"}");
        assert!(matches!(vault().open("acct_a/deploy_c", &sealed).await, Err(VaultError::Sealed)));
    }

    #[tokio::test]
    async fn a_changed_byte_anywhere_is_noticed() {
        let sealed = vault().seal("context", b"text").await.unwrap();
        for position in 0..sealed.len() {
            let mut changed = sealed.clone();
            changed[position] ^= 1;
            assert!(vault().open("context", &changed).await.is_err(), "byte {position}");
            assert!(vault().open("context", &sealed[..position]).await.is_err(), "cut at {position}");
        }
    }

    #[tokio::test]
    async fn the_same_text_is_sealed_differently_each_time() {
        assert_ne!(vault().seal("context", b"text").await.unwrap(), vault().seal("context", b"text").await.unwrap());
    }
}
