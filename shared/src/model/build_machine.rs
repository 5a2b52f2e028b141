//! The machines of builds by AWS CodeBuild, and the bounds that an operator sets for them.

use serde::{Deserialize, Serialize};

use crate::error::{Error, ErrorCode, Result};
use crate::name::BuildImage;
use crate::settings::{BUILD_IMAGES, InvalidSetting, LARGEST_COMPUTE_TYPE, PRIVILEGED_BUILDS, Settings};

/// The images that builds may use unless the operator says otherwise.
const DEFAULT_IMAGES: &str = "aws/codebuild/*";

/// The machine of a build. Absent parts are those of the CodeBuild project.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BuildMachine {
    /// The image. `None` for the operator's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<BuildImage>,
    /// The size. `None` for the operator's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub compute_type: Option<ComputeType>,
    /// Whether the build may run Docker, and so do anything on its machine.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub privileged: bool,
}

/// The machine settings of an environment, which take the place of the repository's. An absent setting is the repository's.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MachineOverrides {
    /// The image.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<BuildImage>,
    /// The size.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub compute_type: Option<ComputeType>,
    /// Whether the build may run Docker.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub privileged: Option<bool>,
}

/// The size of a build machine, by AWS CodeBuild's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, utoipa::ToSchema)]
pub enum ComputeType {
    /// 2 vCPUs.
    #[serde(rename = "BUILD_GENERAL1_SMALL")]
    Small,
    /// 4 vCPUs.
    #[serde(rename = "BUILD_GENERAL1_MEDIUM")]
    Medium,
    /// 8 vCPUs.
    #[serde(rename = "BUILD_GENERAL1_LARGE")]
    Large,
    /// 36 vCPUs.
    #[serde(rename = "BUILD_GENERAL1_XLARGE")]
    XLarge,
    /// 48 vCPUs on arm64, and 72 on x86.
    #[serde(rename = "BUILD_GENERAL1_2XLARGE")]
    XxLarge,
}

/// The machines that an operator allows.
#[derive(Clone, Debug)]
pub struct BuildLimits {
    images: Vec<String>,
    largest: ComputeType,
    privileged: bool,
}

impl BuildMachine {
    /// Returns whether the machine is that of the CodeBuild project.
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }

    /// Returns the machine of a deployment to an environment with these settings.
    pub fn overridden_by(&self, environment: &MachineOverrides) -> Self {
        let MachineOverrides { image, compute_type, privileged } = environment.clone();
        Self {
            image: image.or_else(|| self.image.clone()),
            compute_type: compute_type.or(self.compute_type),
            privileged: privileged.unwrap_or(self.privileged),
        }
    }
}

impl ComputeType {
    const ALL: [Self; 5] = [Self::Small, Self::Medium, Self::Large, Self::XLarge, Self::XxLarge];

    /// Returns CodeBuild's name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Small => "BUILD_GENERAL1_SMALL",
            Self::Medium => "BUILD_GENERAL1_MEDIUM",
            Self::Large => "BUILD_GENERAL1_LARGE",
            Self::XLarge => "BUILD_GENERAL1_XLARGE",
            Self::XxLarge => "BUILD_GENERAL1_2XLARGE",
        }
    }
}

impl BuildLimits {
    /// Reads the limits. By default, builds use CodeBuild's own images, its smallest machines, and no privileged mode.
    ///
    /// # Errors
    /// Fails if a setting is malformed.
    pub fn of(settings: &Settings) -> std::result::Result<Self, InvalidSetting> {
        let images = settings.get(BUILD_IMAGES).unwrap_or(DEFAULT_IMAGES);
        let largest = match settings.get(LARGEST_COMPUTE_TYPE) {
            None => ComputeType::Small,
            Some(name) => ComputeType::ALL
                .into_iter()
                .find(|kind| kind.as_str() == name)
                .ok_or_else(|| InvalidSetting(LARGEST_COMPUTE_TYPE, name.to_owned()))?,
        };
        let privileged = settings.allows(PRIVILEGED_BUILDS, false)?;
        let images: Vec<_> = images.split(',').map(|image| image.trim().to_owned()).collect();
        match images.iter().find(|image| !is_pattern(image)) {
            Some(other) => Err(InvalidSetting(BUILD_IMAGES, other.clone())),
            None => Ok(Self { images, largest, privileged }),
        }
    }

    /// Checks that the operator allows a machine.
    ///
    /// # Errors
    /// Fails with `invalid_request` on each field that the operator does not allow.
    pub fn check(&self, machine: &BuildMachine) -> Result<()> {
        Error::fields(self.refusals(machine))
    }

    /// Admits a deployment with this machine. The operator may have narrowed the limits since its settings were made.
    ///
    /// # Errors
    /// Fails with `machine_not_allowed` if the operator does not allow the machine.
    pub fn admit(&self, machine: &BuildMachine) -> Result<()> {
        match self.refusal_of_deployment(machine) {
            None => Ok(()),
            Some(message) => Err(Error::new(ErrorCode::MachineNotAllowed, message)),
        }
    }

    /// Returns a sentence about a machine that the operator allows, and whether its builds can run Docker.
    pub fn approval_of(&self, machine: &BuildMachine) -> &'static str {
        match (machine.privileged, self.privileged) {
            (true, _) => "The operator allows the build machine, and builds can run Docker",
            (false, true) => "The operator allows the build machine. It is not privileged, so builds can't run Docker",
            (false, false) => {
                "The operator allows the build machine, but no privileged builds, so builds can't run Docker"
            }
        }
    }

    /// Returns a sentence about the setting of the environment or its repository that the operator does not allow.
    pub fn refusal_of_deployment(&self, machine: &BuildMachine) -> Option<String> {
        let first = self.refusals(machine).next();
        first.map(|(field, message)| format!("The setting '{field}' of the environment or its repository {message}"))
    }

    /// Returns the fields that the operator does not allow, each with the reason.
    fn refusals(&self, machine: &BuildMachine) -> impl Iterator<Item = (&'static str, String)> {
        let Self { images, largest, privileged } = self;
        let is_foreign = |image: &BuildImage| !images.iter().any(|pattern| image.is_of(pattern));
        let image = machine.image.as_ref().filter(|image| is_foreign(image));
        let image = image.map(|_| ("image", format!("must be one that the operator allows: {}", images.join(", "))));
        let compute_type = machine.compute_type.filter(|kind| kind > largest);
        let compute_type = compute_type
            .map(|_| ("compute_type", format!("must be at most {}, the operator's limit", largest.as_str())));
        let privileged = (machine.privileged && !privileged)
            .then(|| ("privileged", "must be false: the operator does not allow privileged builds".to_owned()));
        image.into_iter().chain(compute_type).chain(privileged)
    }
}

/// Returns whether a text can be an image, or the start of images and `*`.
fn is_pattern(text: &str) -> bool {
    let start = text.strip_suffix('*').unwrap_or(text);
    !text.is_empty() && start.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._:/@-".contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits(images: &str, largest: &str, privileged: &str) -> std::result::Result<BuildLimits, InvalidSetting> {
        BuildLimits::of(&Settings::from([
            (BUILD_IMAGES, images.to_owned()),
            (LARGEST_COMPUTE_TYPE, largest.to_owned()),
            (PRIVILEGED_BUILDS, privileged.to_owned()),
        ]))
    }

    #[test]
    fn an_environments_settings_take_the_place_of_the_repositorys() {
        let image = |text: &str| Some(text.parse().unwrap());
        let of_repository = BuildMachine {
            image: image("aws/codebuild/standard:7.0"),
            compute_type: Some(ComputeType::Medium),
            privileged: true,
        };
        assert_eq!(of_repository.overridden_by(&MachineOverrides::default()), of_repository);
        let overrides = MachineOverrides {
            image: image("aws/codebuild/standard:6.0"),
            compute_type: Some(ComputeType::Small),
            privileged: Some(false),
        };
        let expected = BuildMachine {
            image: image("aws/codebuild/standard:6.0"),
            compute_type: Some(ComputeType::Small),
            privileged: false,
        };
        assert_eq!(of_repository.overridden_by(&overrides), expected);
        let privileged = MachineOverrides { privileged: Some(true), ..MachineOverrides::default() };
        assert!(BuildMachine::default().overridden_by(&privileged).privileged);
    }

    #[test]
    fn an_operator_bounds_images_sizes_and_privileged_mode() {
        let machine = BuildMachine {
            image: Some("public.ecr.aws/acme/build:1".parse().unwrap()),
            compute_type: Some(ComputeType::Large),
            privileged: true,
        };
        for (images, largest, privileged, refused) in [
            ("", "", "", vec!["image", "compute_type", "privileged"]),
            ("aws/codebuild/*, public.ecr.aws/acme/*", "", "", vec!["compute_type", "privileged"]),
            ("*", "BUILD_GENERAL1_MEDIUM", "allowed", vec!["compute_type"]),
            ("*", "BUILD_GENERAL1_LARGE", "forbidden", vec!["privileged"]),
            ("*", "BUILD_GENERAL1_2XLARGE", "allowed", vec![]),
        ] {
            let limits = limits(images, largest, privileged).unwrap();
            let fields: Vec<_> = limits.refusals(&machine).map(|(field, _)| field).collect();
            assert_eq!(fields, refused, "{images} {largest} {privileged}");
            assert_eq!(limits.refusals(&BuildMachine::default()).count(), 0);
        }
        for (images, largest, privileged) in
            [("?", "", ""), ("a**", "", ""), ("a,,b", "", ""), ("", "HUGE", ""), ("", "", "true")]
        {
            assert!(limits(images, largest, privileged).is_err(), "{images} {largest} {privileged}");
        }
    }
}
