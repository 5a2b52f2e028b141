//! The wait of accounts that share a stack's machines with a greedy one.

use std::time::Duration;

use tests::crowd::{BUILD, Crowd, Order};

use crate::Result;
use crate::report::{Report, Table};

const CROWD: Crowd = Crowd { accounts: 20, greedy: 100, builds: 4 };

pub(crate) async fn measure() -> Result<Report> {
    let mut report = Report::new("turns", "Turns");
    let (before, after) = tokio::join!(CROWD.waits(Order::Creation), CROWD.waits(Order::Turns));
    let columns = [
        "account",
        "deployments",
        "wait without turns",
        "of account 1 meanwhile",
        "wait with turns",
        "of account 1 meanwhile",
    ];
    let mut table = Table::new(columns);
    for (account, (before, after)) in before.iter().zip(&after).enumerate() {
        let deployments = if account == 0 { CROWD.greedy } else { 1 };
        let greedy = |number: usize| if account == 0 { String::new() } else { number.to_string() };
        let [before, after] = [before, after].map(|wait| [minutes(wait.time), greedy(wait.greedy)]);
        let [[time, greedy], [time_with_turns, greedy_with_turns]] = [before, after];
        table.row([
            (account + 1).to_string(),
            deployments.to_string(),
            time,
            greedy,
            time_with_turns,
            greedy_with_turns,
        ]);
    }
    let note = format!(
        "{} deployments run at once, and each takes {}. Account 1 deploys {} refs at the beginning, and each other account deploys once, \
         a minute after the one before. Its wait is the time until its last deployment starts. Without turns, deployments \
         start in the order of their creation: all repositories are of one account in the stack. Time is virtual.",
        CROWD.builds,
        minutes(BUILD),
        CROWD.greedy
    );
    report.section("Twenty accounts, of which one is greedy", &note, &table);
    let most = after[1..].iter().map(|wait| wait.greedy).max().unwrap_or_default();
    let what = "deployments of a greedy account that start while another account's first one waits";
    report.target(what, "≤ 1", most.to_string(), most <= 1);
    Ok(report)
}

fn minutes(time: Duration) -> String {
    format!("{} min", time.as_secs() / 60)
}
