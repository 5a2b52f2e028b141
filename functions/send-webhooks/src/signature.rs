//! Signatures of messages, as Standard Webhooks say.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use ring::hmac;
use shared::clock::Timestamp;
use shared::model::HookSecret;

/// Returns the value of `webhook-signature`: a signature for each secret, the current one first.
pub(crate) fn sign(secrets: &[HookSecret], id: &str, at: Timestamp, body: &[u8]) -> String {
    let signed = [id.as_bytes(), b".", at.as_seconds().to_string().as_bytes(), b".", body].concat();
    let signature = |secret: &HookSecret| {
        let key = hmac::Key::new(hmac::HMAC_SHA256, &secret.bytes()?);
        Some(format!("v1,{}", BASE64_STANDARD.encode(hmac::sign(&key, &signed))))
    };
    secrets.iter().filter_map(signature).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Made by `printf 'msg_1.1767268800.{"ref":"refs/heads/main"}' | openssl dgst -sha256 -mac HMAC -macopt hexkey:3030… -binary | base64`.
    const SIGNATURE: &str = "v1,sS7o1FH83CklSIvU0xZzJmfx5IKItISgNNMsKhSDMgc=";

    #[test]
    fn each_secret_signs_the_id_the_time_and_the_body() {
        let secret = HookSecret::opened(b"whsec_MDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDA=".to_vec()).unwrap();
        let at = Timestamp::from_millis(1_767_268_800_999);
        let sign = |secrets: &[HookSecret]| sign(secrets, "msg_1", at, br#"{"ref":"refs/heads/main"}"#);
        assert_eq!(sign(std::slice::from_ref(&secret)), SIGNATURE);
        let two = sign(&[HookSecret::random(), secret]);
        assert!(two.ends_with(&format!(" {SIGNATURE}")) && two.split(' ').count() == 2, "{two}");
        assert_eq!(sign(&[]), "");
    }
}
