//! The refs that lists of deployments are searched for.

name! {
    /// A ref as requests spell it, or its full name.
    DeployedRef: 1 to 255 characters,
    example "main",
    else InvalidDeployedRef "must be a ref of 1 to 255 characters",
    |_| true
}

impl DeployedRef {
    /// Returns the ref.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}
