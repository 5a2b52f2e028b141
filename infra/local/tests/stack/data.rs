use local::data::{DataFolder, DataFolderError};

#[test]
fn a_data_folder_has_one_user_at_a_time() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("not/yet");
    let first = DataFolder::lock(&path).unwrap();
    let refused = DataFolder::lock(&path).unwrap_err();
    let DataFolderError::InUse { folder, process } = &refused else { panic!("{refused}") };
    assert_eq!((folder.as_path(), process), (first.path(), &std::process::id().to_string()));
    drop(first);
    DataFolder::lock(&path).unwrap();
}

#[test]
fn only_the_files_of_a_stack_are_erased() {
    let folder = tempfile::tempdir().unwrap();
    let data = DataFolder::lock(folder.path()).unwrap();
    std::fs::create_dir_all(folder.path().join("archive/acct")).unwrap();
    let files = [
        "log.jsonl",
        "variables.key",
        "issuer.json",
        "git-host-password",
        "demo-hooks.json",
        "demo-reviewer.json",
        "demo-tokens.json",
        "dynamodb.sqlite",
        "dynamodb.sqlite-wal",
    ];
    for name in files.into_iter().chain(["mine.txt"]) {
        std::fs::write(folder.path().join(name), "").unwrap();
    }
    data.erase().unwrap();
    let left = std::fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name());
    let mut left: Vec<_> = left.collect();
    left.sort();
    assert_eq!(left, ["lock", "mine.txt"]);
}
