//! Images of build machines.

name! {
    /// An image for builds by AWS CodeBuild: one of CodeBuild's own, or one of Amazon ECR.
    BuildImage: 1 to 255 characters,
    pattern "^(aws/codebuild/|public\\.ecr\\.aws/|[0-9]{12}\\.dkr\\.ecr\\.[a-z0-9-]+\\.amazonaws\\.com(\\.cn)?/)[a-z0-9][A-Za-z0-9._/-]*(:[A-Za-z0-9_][A-Za-z0-9._-]*)?(@sha256:[0-9a-f]{64})?$",
    example "aws/codebuild/amazonlinux-aarch64-standard:3.0",
    else InvalidBuildImage
        "must be an image of AWS CodeBuild (aws/codebuild/…), of Amazon ECR Public (public.ecr.aws/…) or of Amazon ECR \
         (123456789012.dkr.ecr.eu-west-1.amazonaws.com/…)",
    |text| {
        let Some(rest) = without_registry(text) else { return false };
        let (rest, digest) = rest.split_once("@sha256:").map_or((rest, None), |(rest, digest)| (rest, Some(digest)));
        let (path, tag) = rest.split_once(':').map_or((rest, None), |(path, tag)| (path, Some(tag)));
        let is_word = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
        let is_hex = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
        path.starts_with(|first: char| first.is_ascii_lowercase() || first.is_ascii_digit())
            && path.bytes().all(|byte| is_word(byte) || byte == b'/')
            && tag.is_none_or(|tag| tag.bytes().all(is_word) && !tag.is_empty() && !tag.starts_with(['.', '-']))
            && digest.is_none_or(|digest| digest.len() == 64 && digest.bytes().all(is_hex))
    }
}

impl BuildImage {
    /// Returns whether the image is one that a pattern allows: its whole text, or its start if the pattern ends with `*`.
    pub(crate) fn is_of(&self, pattern: &str) -> bool {
        match pattern.strip_suffix('*') {
            Some(start) => self.0.starts_with(start),
            None => self.0 == pattern,
        }
    }
}

/// Returns the path, the tag and the digest of an image of a registry that CodeBuild may pull from.
fn without_registry(text: &str) -> Option<&str> {
    if let Some(rest) = text.strip_prefix("aws/codebuild/").or_else(|| text.strip_prefix("public.ecr.aws/")) {
        return Some(rest);
    }
    let (host, rest) = text.split_once('/')?;
    let (account, region) = host.split_once(".dkr.ecr.")?;
    let region = region.strip_suffix(".amazonaws.com").or_else(|| region.strip_suffix(".amazonaws.com.cn"))?;
    let is_region = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    let is_account = account.len() == 12 && account.bytes().all(|byte| byte.is_ascii_digit());
    (is_account && !region.is_empty() && region.bytes().all(is_region)).then_some(rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn images_of_other_registries_are_refused() {
        let digest = format!("public.ecr.aws/docker/library/node@sha256:{}", "a".repeat(64));
        for image in [
            "aws/codebuild/standard:7.0",
            "aws/codebuild/amazonlinux-x86_64-standard:5.0",
            "public.ecr.aws/docker/library/node:22-bookworm",
            "123456789012.dkr.ecr.eu-west-1.amazonaws.com/team/build:_1",
            "123456789012.dkr.ecr.cn-north-1.amazonaws.com.cn/build",
            &digest,
        ] {
            assert!(image.parse::<BuildImage>().is_ok(), "{image}");
        }
        for image in [
            "",
            "node:22",
            "docker.io/library/node:22",
            "aws/codebuild/",
            "aws/codebuild/standard:",
            "aws/codebuild/standard:-1",
            "aws/codebuild/standard:7 0",
            "public.ecr.aws/x@sha256:abc",
            "public.ecr.aws.example.com/x",
            "12345678901.dkr.ecr.eu-west-1.amazonaws.com/x",
            "123456789012.dkr.ecr..amazonaws.com/x",
            "123456789012.dkr.ecr.eu-west-1.amazonaws.com.example/x",
        ] {
            assert!(image.parse::<BuildImage>().is_err(), "{image}");
        }
    }

    #[test]
    fn a_pattern_is_an_image_or_the_start_of_images() {
        let image: BuildImage = "aws/codebuild/standard:7.0".parse().unwrap();
        for (pattern, matches) in [
            ("aws/codebuild/*", true),
            ("*", true),
            ("aws/codebuild/standard:7.0", true),
            ("aws/codebuild/standard", false),
        ] {
            assert_eq!(image.is_of(pattern), matches, "{pattern}");
        }
    }
}
