use aws_lc_rs::signature::RsaParameters;
use jsonwebtoken::{Algorithm, DecodingKey};

use crate::config::SigningAlgorithm;

/// Bytes of an HS256 secret, at least: as many as its digest has (RFC 7518, 3.2).
const SECRET_MIN: usize = 32;
/// Bits of an RSA modulus: smaller keys can be factored, larger ones stall whoever verifies.
const RSA_BITS: std::ops::RangeInclusive<u32> = 2_048..=8_192;
/// Bytes of an uncompressed point of P-256.
const P256_POINT: usize = 65;
const ED25519_KEY: usize = 32;

/// A key that verifies one algorithm and no other, so that no token can confuse one kind of key with
/// another.
pub(crate) struct VerificationKey {
    algorithm: SigningAlgorithm,
    kid: Option<String>,
    key: DecodingKey,
}

impl std::fmt::Debug for VerificationKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("VerificationKey")
            .field("algorithm", &self.algorithm)
            .field("kid", &self.kid)
            .finish_non_exhaustive()
    }
}

impl VerificationKey {
    /// A shared secret for HS256.
    pub(crate) fn from_secret(secret: &[u8], kid: Option<String>) -> Result<Self, &'static str> {
        if secret.starts_with(b"-----BEGIN") {
            return Err("a secret that is a PEM text would let anyone sign who knows the public key");
        }
        if secret.len() < SECRET_MIN {
            return Err("the secret is shorter than 32 bytes");
        }
        Ok(Self { algorithm: SigningAlgorithm::Hs256, kid, key: DecodingKey::from_secret(secret) })
    }

    /// A public key in PEM (`PUBLIC KEY`, or `RSA PUBLIC KEY`) for one of the other algorithms.
    pub(crate) fn from_pem(
        algorithm: SigningAlgorithm,
        pem: &str,
        kid: Option<String>,
    ) -> Result<Self, &'static str> {
        if pem.contains("PRIVATE KEY") {
            return Err("it is a private key: the public one belongs here");
        }
        if pem.contains("CERTIFICATE") {
            return Err("it is a certificate: its public key belongs here");
        }
        let key = match algorithm {
            SigningAlgorithm::Hs256 => return Err("HS256 takes a secret, not a public key"),
            SigningAlgorithm::Rs256 => DecodingKey::from_rsa_pem(pem.as_bytes()),
            SigningAlgorithm::Es256 => DecodingKey::from_ec_pem(pem.as_bytes()),
            SigningAlgorithm::EdDsa => DecodingKey::from_ed_pem(pem.as_bytes()),
        };
        let key = key.map_err(|_| "it is no public key in PEM of that algorithm")?;
        let bytes = key.try_get_as_bytes().map_err(|_| "it is no public key in PEM")?;
        match algorithm {
            SigningAlgorithm::Rs256 => {
                let bits = RsaParameters::public_modulus_len(bytes).map_err(|_| "it is no RSA public key")?;
                if !RSA_BITS.contains(&bits) {
                    return Err("an RSA key has 2048 to 8192 bits");
                }
            }
            SigningAlgorithm::Es256 if bytes.len() != P256_POINT => {
                return Err("ES256 takes a key on the curve P-256");
            }
            SigningAlgorithm::EdDsa if bytes.len() != ED25519_KEY => {
                return Err("EdDSA takes an Ed25519 key");
            }
            SigningAlgorithm::Hs256 | SigningAlgorithm::Es256 | SigningAlgorithm::EdDsa => {}
        }
        Ok(Self { algorithm, kid, key })
    }

    /// The public half of an Ed25519 key that this server made.
    pub(crate) fn from_ed25519(public: &[u8], kid: String) -> Self {
        Self { algorithm: SigningAlgorithm::EdDsa, kid: Some(kid), key: DecodingKey::from_ed_der(public) }
    }

    pub(super) const fn algorithm(&self) -> SigningAlgorithm {
        self.algorithm
    }

    /// Whether a token that names `kid` may have been signed with this key.
    pub(super) fn answers_to(&self, kid: Option<&str>) -> bool {
        match (&self.kid, kid) {
            (Some(mine), Some(theirs)) => mine == theirs,
            _ => true,
        }
    }

    pub(super) fn kid(&self) -> Option<&str> {
        self.kid.as_deref()
    }

    /// `signature` is in base64url.
    pub(super) fn verifies(&self, message: &[u8], signature: &str) -> bool {
        let algorithm = match self.algorithm {
            SigningAlgorithm::Hs256 => Algorithm::HS256,
            SigningAlgorithm::Rs256 => Algorithm::RS256,
            SigningAlgorithm::Es256 => Algorithm::ES256,
            SigningAlgorithm::EdDsa => Algorithm::EdDSA,
        };
        jsonwebtoken::crypto::verify(signature, message, &self.key, algorithm).unwrap_or(false)
    }
}
