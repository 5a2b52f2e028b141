//! Verifies signatures with ring, which TLS links anyway. jsonwebtoken's own back ends would add a second library.

use jsonwebtoken::crypto::{CryptoProvider, JwtVerifier, KeyUtils};
use jsonwebtoken::errors::{Error, ErrorKind};
use jsonwebtoken::signature::{self, Verifier};
use jsonwebtoken::{Algorithm, DecodingKey, DecodingKeyKind};
use ring::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA384_FIXED, ED25519, RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_2048_8192_SHA384,
    RSA_PKCS1_2048_8192_SHA512, RSA_PSS_2048_8192_SHA256, RSA_PSS_2048_8192_SHA384, RSA_PSS_2048_8192_SHA512,
    RsaParameters, RsaPublicKeyComponents, UnparsedPublicKey, VerificationAlgorithm,
};

static RING: CryptoProvider = CryptoProvider {
    signer_factory: |_, _| Err(ErrorKind::InvalidAlgorithm.into()),
    verifier_factory: |algorithm, key| Ok(Box::new(RingVerifier { algorithm: *algorithm, key: key.clone() })),
    // The provider of private keys and thumbprints, which nothing here uses.
    key_utils: KeyUtils::new_unimplemented(),
};

/// Installs ring as the library's provider in this process.
pub(super) fn install() {
    // A second call fails because the provider is already installed.
    let _ = RING.install_default();
}

struct RingVerifier {
    algorithm: Algorithm,
    key: DecodingKey,
}

enum Method {
    Rsa(&'static RsaParameters),
    Other(&'static dyn VerificationAlgorithm),
}

impl RingVerifier {
    fn method(&self) -> Result<Method, Error> {
        Ok(match self.algorithm {
            Algorithm::RS256 => Method::Rsa(&RSA_PKCS1_2048_8192_SHA256),
            Algorithm::RS384 => Method::Rsa(&RSA_PKCS1_2048_8192_SHA384),
            Algorithm::RS512 => Method::Rsa(&RSA_PKCS1_2048_8192_SHA512),
            Algorithm::PS256 => Method::Rsa(&RSA_PSS_2048_8192_SHA256),
            Algorithm::PS384 => Method::Rsa(&RSA_PSS_2048_8192_SHA384),
            Algorithm::PS512 => Method::Rsa(&RSA_PSS_2048_8192_SHA512),
            Algorithm::ES256 => Method::Other(&ECDSA_P256_SHA256_FIXED),
            Algorithm::ES384 => Method::Other(&ECDSA_P384_SHA384_FIXED),
            Algorithm::EdDSA => Method::Other(&ED25519),
            _ => return Err(ErrorKind::InvalidAlgorithm.into()),
        })
    }
}

impl Verifier<Vec<u8>> for RingVerifier {
    fn verify(&self, message: &[u8], signature: &Vec<u8>) -> Result<(), signature::Error> {
        let method = self.method().map_err(signature::Error::from_source)?;
        let verified = match (method, self.key.kind()) {
            (Method::Rsa(parameters), DecodingKeyKind::RsaModulusExponent { n, e }) => {
                RsaPublicKeyComponents { n, e }.verify(parameters, message, signature)
            }
            (Method::Other(algorithm), DecodingKeyKind::SecretOrDer(key)) => {
                UnparsedPublicKey::new(algorithm, key).verify(message, signature)
            }
            // The key is of another kind than the algorithm's.
            _ => return Err(signature::Error::new()),
        };
        verified.map_err(|_| signature::Error::new())
    }
}

impl JwtVerifier for RingVerifier {
    fn algorithm(&self) -> Algorithm {
        self.algorithm
    }
}
