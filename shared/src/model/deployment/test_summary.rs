//! The summary of a build's test reports.

use serde::{Deserialize, Serialize};

use crate::capability::conceal;

/// The maximum number of failed tests that are named.
const MAX_FAILURES: usize = 100;
/// The maximum size of the texts about failed tests together, in bytes.
const MAX_FAILURE_BYTES: usize = 16 * 1024;
/// The maximum size of a suite's or a test's name, in bytes.
const MAX_NAME_BYTES: usize = 200;
/// The maximum size of a failure's message, in bytes.
const MAX_MESSAGE_BYTES: usize = 500;

/// The results of a build's tests, from the reports that its buildspec names.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[schema(as = Tests)]
pub struct TestSummary {
    /// The number of test cases.
    #[schema(examples(120))]
    pub total: u64,
    /// The number of test cases that passed.
    #[schema(examples(117))]
    pub passed: u64,
    /// The number of test cases that failed.
    #[schema(examples(1))]
    pub failed: u64,
    /// The number of test cases that were skipped.
    #[schema(examples(2))]
    pub skipped: u64,
    /// The time of all test cases together, in milliseconds.
    #[schema(examples(5321))]
    pub duration_ms: u64,
    /// The first failed test cases: at most 100, and at most 16 KiB of text.
    pub failures: Vec<FailedTest>,
}

/// A test case that failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct FailedTest {
    /// The name of the suite, cut to 200 bytes.
    #[schema(examples("cart"))]
    pub suite: String,
    /// The name of the test case, cut to 200 bytes.
    #[schema(examples("adds an item"))]
    pub name: String,
    /// The start of the message, cut to 500 bytes.
    #[schema(examples("expected 2, got 3"))]
    pub message: String,
}

impl TestSummary {
    /// Counts a failed test, and names it if there is room.
    pub fn fail(&mut self, test: FailedTest) {
        self.failed += 1;
        if self.failures.len() < MAX_FAILURES {
            self.failures.push(test);
        }
    }

    /// Adds the tests of another report. `masked` takes secrets out of their texts.
    pub fn add(&mut self, other: Self, masked: impl Fn(&str) -> String) {
        self.total += other.total;
        self.passed += other.passed;
        self.failed += other.failed;
        self.skipped += other.skipped;
        self.duration_ms = self.duration_ms.saturating_add(other.duration_ms);
        // A text is masked before it is cut, so that no part of a secret is left.
        let shown = |text: &str, size| cut(conceal(&masked(text)).into_owned(), size);
        for FailedTest { suite, name, message } in other.failures {
            let suite = shown(&suite, MAX_NAME_BYTES);
            let test =
                FailedTest { suite, name: shown(&name, MAX_NAME_BYTES), message: shown(&message, MAX_MESSAGE_BYTES) };
            let bytes: usize = self.failures.iter().chain([&test]).map(FailedTest::size).sum();
            if self.failures.len() == MAX_FAILURES || bytes > MAX_FAILURE_BYTES {
                return;
            }
            self.failures.push(test);
        }
    }
}

impl FailedTest {
    fn size(&self) -> usize {
        self.suite.len() + self.name.len() + self.message.len()
    }
}

fn cut(mut text: String, size: usize) -> String {
    text.truncate(text.floor_char_boundary(size));
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_of_failures_has_bounds_and_all_are_counted() {
        let test =
            |message: &str| FailedTest { suite: "é".repeat(200), name: "n".repeat(9), message: message.to_owned() };
        let mut one = TestSummary::default();
        for _ in 0..150 {
            one.total += 1;
            one.fail(test("short"));
        }
        let mut all = TestSummary::default();
        all.add(one.clone(), str::to_owned);
        assert_eq!((all.total, all.failed), (150, 150));
        assert_eq!(all.failures.len(), MAX_FAILURE_BYTES / (200 + 9 + 5));
        assert_eq!(all.failures[0].suite.len(), 200);
        all.add(one, str::to_owned);
        assert!(all.failed == 300 && all.failures.iter().map(FailedTest::size).sum::<usize>() <= MAX_FAILURE_BYTES);

        let mut masked = TestSummary::default();
        let mut leak = TestSummary::default();
        leak.fail(test(&format!("{}hunter22", "x".repeat(495))));
        masked.add(leak, |text| text.replace("hunter22", "***"));
        assert_eq!(masked.failures[0].message, format!("{}***", "x".repeat(495)));
    }
}
