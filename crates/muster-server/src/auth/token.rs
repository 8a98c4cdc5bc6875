//! One-time tokens: made for an officer, compared when somebody signs in.
//!
//! A token's password is 140 random bits of ours, not a word that somebody chose. Nobody can try so many, however fast
//! the hash is, so it is hashed once with SHA-256 where a chosen password needs Argon2; and there is no salt, because
//! no two tokens have the same password. The hash covers the identifier, so that rows cannot be exchanged for each
//! other.
//!
//! To the outside an unknown token, a wrong password, and a token that was used, has expired or was revoked are the
//! same; the log line says which.

use std::net::IpAddr;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::digest::{Context, SHA256};
use muster_core::token::{TokenId, TokenTrouble};
use muster_core::{Caller, Method, UnixTime};
use muster_store::{Token, TokenVerifier};
use zeroize::Zeroizing;

use super::throttle::Pace;
use crate::accounts::Accounts;
use crate::fault::{AuthError, ServiceError};
use crate::setup::{SetupError, random_text};

/// Letters and digits of a password, of 57 kinds: 140 bits.
const SECRET_LENGTH: usize = 24;

/// Seconds after its end for which whoever used a token in time may still ask for what it got: officers take their
/// time.
const GRACE: i64 = 30 * 86_400;

/// A new token: its user name, its password, and what of that is stored.
#[derive(Debug)]
pub struct NewToken {
    /// The user name.
    pub id: TokenId,
    /// The password; nobody can tell it later.
    pub secret: Zeroizing<String>,
    /// What is stored of it.
    pub verifier: TokenVerifier,
}

impl NewToken {
    /// Draws one.
    ///
    /// # Errors
    /// [`SetupError`] if the system has no randomness.
    pub fn draw() -> Result<Self, SetupError> {
        let mut octets = [0; 16];
        aws_lc_rs::rand::fill(&mut octets)
            .map_err(|_| SetupError::File("the system has no randomness".to_owned()))?;
        let id = TokenId::from_random(octets);
        let secret = Zeroizing::new(random_text(SECRET_LENGTH)?);
        let verifier = verifier(&id, &secret);
        Ok(Self { id, secret, verifier })
    }
}

fn verifier(id: &TokenId, secret: &str) -> TokenVerifier {
    let mut context = Context::new(&SHA256);
    for part in ["muster one-time token", id.as_str(), secret] {
        context.update(&part.len().to_be_bytes());
        context.update(part.as_bytes());
    }
    let mut verifier = [0; 32];
    verifier.iter_mut().zip(context.finish().as_ref()).for_each(|(to, from)| *to = *from);
    TokenVerifier(verifier)
}

/// Verifies the password of a token. A caller whose token is spent is told so by [`Caller::spent`]: such a one may ask
/// what became of its request, and nothing else.
pub(super) async fn verify(
    accounts: &Accounts,
    pace: &Pace,
    id: &TokenId,
    secret: &str,
    peer: IpAddr,
    now: UnixTime,
) -> Result<Caller, ServiceError> {
    let name = muster_core::identity::AccountName::of_token(id);
    if !pace.allows(Some(&name), peer, now) {
        return Err(AuthError::BadCredentials.into());
    }
    let token: Option<Token> = accounts.token(id).await?;
    let given = verifier(id, secret);
    // As much work for a token that there is not.
    let stored = token.as_ref().map_or(TokenVerifier([0; 32]), |token| token.verifier.clone());
    let right = verify_slices_are_equal(&given.0, &stored.0).is_ok();
    let refuse = |trouble| Err(AuthError::Token(trouble).into());
    let Some(token) = token.as_ref().filter(|_| right) else {
        pace.failed(Some(&name), peer, now);
        return refuse(if token.is_some() { TokenTrouble::Secret } else { TokenTrouble::Unknown });
    };
    pace.succeeded(&name, peer, now);
    let Some(principal) = token.principal() else { return refuse(TokenTrouble::Revoked) };
    if now > token.expires.plus(GRACE) {
        return refuse(TokenTrouble::Expired);
    }
    let caller = Caller::authenticated(principal, Method::UsernamePassword);
    Ok(caller.with_spent_token(token.trouble(now)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn verifier_is_of_one_token() {
        let (one, other) = (NewToken::draw().unwrap(), NewToken::draw().unwrap());
        assert_eq!(one.secret.len(), SECRET_LENGTH);
        assert_eq!(verifier(&one.id, &one.secret), one.verifier);
        assert_ne!(verifier(&other.id, &one.secret), one.verifier);
        assert_ne!(verifier(&one.id, &other.secret), one.verifier);
        assert!(!format!("{:?}", one.verifier).contains(|c: char| c.is_ascii_digit()));
    }
}
