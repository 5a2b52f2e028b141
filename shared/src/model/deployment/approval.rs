//! Approvals: their number, the people who may give them, and all that they cover.

use serde::Serialize;
use sha2::{Digest, Sha256};

use super::{Deployment, DeploymentVariables};
use crate::hex::hex;
use crate::id::{ConnectionId, DeploymentId, RepositoryId, UserId};
use crate::model::{BuildMachine, Environment, Failure, OriginKind, PushContext};

/// All that a build gets, and the conditions under which it starts.
///
/// Secrets are covered as they are stored, encrypted with a key that is new for each of them. So the digest of a short value tells
/// nothing about it. Stored variables are covered with their versions.
#[derive(Serialize)]
struct Covered<'a> {
    version: u8,
    deployment_id: &'a DeploymentId,
    repository_id: &'a RepositoryId,
    environment: Environment,
    clone_url: &'a str,
    connection_id: Option<&'a ConnectionId>,
    root_folder: &'a str,
    buildspec_path: &'a str,
    fetch_depth: u16,
    /// Absent for a build that may have a cache, so that the digests of deployments from before the setting stay the same.
    #[serde(skip_serializing_if = "Option::is_none")]
    cache: Option<bool>,
    git_ref: &'a str,
    ref_name: Option<&'a str>,
    sha: &'a str,
    repeats: Option<(OriginKind, &'a DeploymentId)>,
    #[serde(skip_serializing_if = "Option::is_none")]
    push: Option<&'a PushContext>,
    variable_names: &'a [String],
    variables: Option<&'a str>,
    time_limit_seconds: Option<u32>,
    /// Absent for the operator's machine, so that the digests of deployments from before there were others stay the same.
    #[serde(skip_serializing_if = "Option::is_none")]
    machine: Option<&'a BuildMachine>,
    required_approvals: u8,
}

impl Deployment {
    /// Returns the number of approvals so far.
    pub fn approvals(&self) -> u8 {
        u8::try_from(self.approved_by.len()).unwrap_or(u8::MAX)
    }

    /// Returns whether the deployment has all required approvals.
    pub fn is_approved(&self) -> bool {
        self.approvals() >= self.required_approvals
    }

    /// Returns whether the user created the deployment, or registered the application that did.
    pub fn is_created_by(&self, user: &UserId) -> bool {
        self.created_by == *user || self.registered_by.as_ref() == Some(user)
    }

    /// Returns the digest of all that an approval covers, as 64 hexadecimal digits. It stays the same while the deployment
    /// waits.
    pub fn approval_digest(&self) -> String {
        self.digest_with(self.variables_digest.as_deref())
    }

    /// Returns the failure of a deployment whose approvals do not cover all that its build gets, with the variables that were read
    /// for the build. A deployment that needs no approval has none.
    pub fn unapproved(&self, variables: &DeploymentVariables) -> Option<Failure> {
        if self.required_approvals == 0 && self.approved_digest.is_none() {
            return None;
        }
        let got = self.digest_with(variables.digest().as_deref());
        let is_covered = self.is_approved() && self.approved_digest.as_ref() == Some(&got);
        (!is_covered).then(Failure::approval_mismatch)
    }

    fn digest_with(&self, variables_digest: Option<&str>) -> String {
        let covered = Covered {
            version: 4,
            deployment_id: &self.id,
            repository_id: &self.repository_id,
            environment: self.environment,
            clone_url: &self.clone_url,
            connection_id: self.connection_id.as_ref(),
            root_folder: self.source.root_folder.as_str(),
            buildspec_path: self.source.buildspec_path.as_str(),
            fetch_depth: self.source.fetch_depth,
            cache: Some(self.source.cache).filter(|cache| !cache),
            git_ref: &self.git_ref,
            ref_name: self.ref_name.as_deref(),
            sha: &self.sha,
            repeats: self.origin.as_ref().map(|origin| (origin.kind, &origin.deployment_id)),
            push: self.push.as_ref(),
            variable_names: &self.variable_names,
            variables: variables_digest,
            time_limit_seconds: self.time_limit_seconds,
            machine: Some(&self.machine).filter(|machine| !machine.is_default()),
            required_approvals: self.required_approvals,
        };
        digest(&serde_json::to_vec(&covered).expect("a deployment's fields are plain data"))
    }
}

/// Returns the SHA-256 of some bytes, in hexadecimal digits.
pub(super) fn digest(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}
