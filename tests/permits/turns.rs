//! Turns of accounts while the stack runs as many deployments as it can.

use serde_json::Value;
use shared::model::StackPermits;
use tests::{Actor, World};

use super::{account, blocker, branches, capacity, claim, deploy, end, running};

/// Delivers the messages of all waiting deployments until one is claimed. Returns its account's place.
async fn next(world: &World, waiting: &[(usize, &Actor, Value)]) -> Option<(usize, shared::model::Deployment)> {
    for (at, owner, deployment) in waiting {
        if owner.deployment(deployment).await["status"] != "queued" {
            continue;
        }
        if let Some(claimed) = claim(world, owner, deployment).await {
            return Some((*at, claimed));
        }
    }
    None
}

#[tokio::test]
async fn accounts_take_turns_however_many_deployments_each_has() {
    let world = World::start_with(running(1)).await;
    let source = branches(6);
    let greedy = account(&world, "greedy", 10, &source).await;
    let others = [account(&world, "acme", 10, &source).await, account(&world, "globex", 1, &source).await];
    let mut waiting = Vec::new();
    for branch in 0..6 {
        let created = deploy(&greedy, branch).await;
        let claimed = claim(&world, &greedy, &created).await;
        match branch {
            0 => waiting.push((0, &greedy, created, claimed)),
            _ => {
                assert!(claimed.is_none());
                assert_eq!(blocker(&greedy, &created).await, capacity(branch as u32), "of its own account");
                waiting.push((0, &greedy, created, None));
            }
        }
    }
    for (at, owner) in [(1, &others[0]), (2, &others[1])] {
        for branch in 0..2 {
            let created = deploy(owner, branch).await;
            assert!(claim(&world, owner, &created).await.is_none());
            assert_eq!(blocker(owner, &created).await, capacity(branch as u32 + 1));
            waiting.push((at, owner, created, None));
        }
    }
    let mut in_progress = waiting[0].3.take().expect("the first found a permit");
    let messages: Vec<_> = waiting.into_iter().map(|(at, owner, created, _)| (at, owner, created)).collect();
    let mut turns = Vec::new();
    for _ in 0..9 {
        end(&world, &in_progress).await;
        if turns.last() == Some(&2) {
            // Its own end sends the message of the account's next deployment, which waits for its turn behind the others.
            for (_, owner, created) in messages.iter().filter(|(at, ..)| *at == 2) {
                if owner.deployment(created).await["status"] == "queued" {
                    assert!(claim(&world, owner, created).await.is_none());
                }
            }
        }
        let (turn, claimed) = next(&world, &messages).await.expect("somebody's turn has come");
        assert!(next(&world, &messages).await.is_none(), "one permit is one turn");
        turns.push(turn);
        in_progress = claimed;
    }
    assert_eq!(turns, [0, 1, 2, 0, 1, 2, 0, 0, 0]);
    end(&world, &in_progress).await;
    assert!(StackPermits::load(world.stack.app().table()).await.unwrap().running.is_empty());
}

#[tokio::test]
async fn nobody_takes_the_permit_of_an_account_whose_turn_has_come() {
    let world = World::start_with(running(1)).await;
    let source = branches(3);
    let (first, second) = (account(&world, "acme", 10, &source).await, account(&world, "globex", 10, &source).await);
    let running = claim(&world, &first, &deploy(&first, 0).await).await.unwrap();
    let waits = deploy(&second, 0).await;
    assert!(claim(&world, &second, &waits).await.is_none());
    end(&world, &running).await;
    // The message of the waiting one is late, and another account's deployment is new.
    let new = deploy(&first, 1).await;
    assert!(claim(&world, &first, &new).await.is_none());
    assert_eq!(blocker(&first, &new).await, capacity(1));
    let claimed = claim(&world, &second, &waits).await.expect("its permit was kept");
    end(&world, &claimed).await;
    claim(&world, &first, &new).await.expect("then it is the other one's turn");
}

/// The account in the ring has nothing to start any more, and the account behind it is not held up.
#[tokio::test]
async fn an_account_without_a_waiting_deployment_loses_its_turn() {
    let world = World::start_with(|options| {
        options.overrides.push((shared::settings::CONCURRENT_BUILDS, "1".to_owned()));
    })
    .await;
    let folder = tempfile::tempdir().unwrap();
    let gate = folder.path().join("gate");
    let source =
        tests::GitRepository::with_commands(&[&format!("while [ ! -e {} ]; do sleep 0.02; done", gate.display())]);
    for branch in ["b0", "b1"] {
        source.git(&["branch", branch]);
    }
    let owners = [
        account(&world, "acme", 10, &source).await,
        account(&world, "globex", 10, &source).await,
        account(&world, "initech", 10, &source).await,
    ];
    let running = deploy(&owners[0], 0).await;
    tests::eventually("its start", async || {
        (owners[0].deployment(&running).await["status"] == "in_progress").then_some(())
    })
    .await;
    let mut waiting = Vec::new();
    for owner in &owners[1..] {
        let created = deploy(owner, 0).await;
        tests::eventually("its wait", async || (blocker(owner, &created).await == capacity(1)).then_some(())).await;
        waiting.push(created);
    }
    assert_eq!(owners[1].act(&waiting[0], "cancel", serde_json::json!({})).await.status, 200);
    std::fs::write(gate, "").unwrap();
    assert_eq!(owners[2].ended(&waiting[1]).await["status"], "succeeded");
    assert_eq!(owners[0].ended(&running).await["status"], "succeeded");
    world.queue_is_empty().await;
}
