//! Hubs that were set back to a backup, and what of it heals by itself.

use crate::support::{Device, Hub, admin, set_back, tertulia};
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    process::Stdio,
    sync::{
        Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Instant,
};

/// alice, bob and carol, of whom alice knows the others.
fn three(hub: &Hub) -> [Device; 3] {
    let people = ["alice", "bob", "carol"].map(|handle| hub.sign_up(handle));
    people[0].befriend(&people[1]);
    people[0].befriend(&people[2]);
    people
}

fn backup(hub: &Hub) -> PathBuf {
    let backup = hub.directory().join("backup");
    admin(hub, &["backup"], &[&backup]).done();
    backup
}

fn sync(devices: &[&Device]) {
    // The first learns of the restore and the second what others have made of it.
    for device in [devices, devices].concat() {
        device.run(&["sync"]).done();
    }
}

/// Everybody says something, which everybody hears.
#[track_caller]
fn talk(devices: &[&Device], group: &str, what: &str) {
    let said: Vec<String> =
        devices.iter().map(|device| format!("{what}, says {}", device.handle())).collect();
    for (device, text) in devices.iter().zip(&said) {
        device.send(group, text);
    }
    for device in devices {
        let heard = device.texts(group);
        assert!(heard.ends_with(&said), "{} hears {heard:?}", device.handle());
    }
}

fn id(device: &Device, group: &str) -> String {
    device.listed(group).expect("it is there")["conversation"].as_str().expect("an id").to_owned()
}

fn open(data: &Path) -> rusqlite::Connection {
    rusqlite::Connection::open(data.join("hub.db")).unwrap()
}

/// The numbers that the hub has given out to what happened, and the ids of its groups.
fn given_out(data: &Path) -> (BTreeSet<i64>, BTreeSet<i64>, BTreeSet<Vec<u8>>) {
    let database = open(data);
    let numbers = |sql: &str| -> BTreeSet<i64> {
        let mut statement = database.prepare(sql).unwrap();
        statement.query_map((), |row| row.get(0)).unwrap().map(Result::unwrap).collect()
    };
    let positions = numbers("SELECT position FROM log UNION SELECT position FROM user_events");
    let sequences = numbers("SELECT sequence FROM log");
    let mut statement = database.prepare("SELECT group_id FROM conversations").unwrap();
    let groups = statement.query_map((), |row| row.get(0)).unwrap().map(Result::unwrap).collect();
    (positions, sequences, groups)
}

#[test]
fn a_backup_that_is_restored_twice_gives_out_nothing_a_second_time() {
    let mut hub = Hub::start();
    let [alice, bob, carol] = three(&hub);
    alice.run(&["group", "create", "garden", "bob", "carol"]).done();
    talk(&[&alice, &bob, &carol], "garden", "before");
    let backup = backup(&hub);
    let before = given_out(&backup);

    let mut lives = Vec::new();
    for life in ["the first life", "the second life"] {
        set_back(&mut hub, &backup);
        sync(&[&alice, &bob, &carol]);
        talk(&[&alice, &bob, &carol], "garden", life);
        alice.send("@bob", life);
        assert!(bob.texts("@alice").contains(&life.to_owned()));
        assert!(hub.terminate().success());
        lives.push(given_out(&hub.data()));
        hub.start_again();
    }
    let [first, second] = &lives[..] else { unreachable!("there are two") };
    let new =
        |life: &BTreeSet<i64>, before: &BTreeSet<i64>| life.difference(before).copied().collect::<Vec<_>>();
    let positions = [new(&first.0, &before.0), new(&second.0, &before.0)];
    assert!(
        !positions[0].is_empty() && positions[0].iter().max() < positions[1].iter().min(),
        "{positions:?}"
    );
    let sequences = [new(&first.1, &before.1), new(&second.1, &before.1)];
    assert!(
        !sequences[0].is_empty() && sequences[0].iter().max() < sequences[1].iter().min(),
        "{sequences:?}"
    );
    assert!(first.2.is_disjoint(&second.2) && before.2.is_disjoint(&first.2), "a group's id was given twice");
    // In both lives there was what was there before.
    for device in [&alice, &bob, &carol] {
        assert_eq!(device.texts("garden").len(), 9, "{}", device.handle());
    }
}

#[test]
fn a_group_that_had_not_begun_and_a_call_go_on_after_a_restore() {
    let mut hub = Hub::start();
    let [alice, bob, carol] = three(&hub);
    alice.run(&["group", "create", "garden", "bob", "carol"]).done();
    sync(&[&bob, &carol]);
    for device in [&alice, &bob] {
        device.run(&["sub", "join", "garden", "call"]).done();
    }
    // Nobody has said anything to anybody alone: these groups are at epoch 0 in the backup, and ahead of it afterwards.
    let backup = backup(&hub);
    alice.send("@bob", "the first word");
    bob.send("@alice", "the second");
    bob.run(&["sub", "leave", "garden", "call"]).done();
    alice.run(&["sync"]).done();
    carol.run(&["sub", "join", "garden", "call"]).done();
    set_back(&mut hub, &backup);

    sync(&[&alice, &bob, &carol]);
    alice.send("@bob", "a word after the restore");
    bob.send("@alice", "and an answer");
    let said = ["the first word", "the second", "a word after the restore", "and an answer"];
    assert_eq!(
        (alice.texts("@bob"), bob.texts("@alice")),
        (said.map(str::to_owned).to_vec(), said.map(str::to_owned).to_vec())
    );
    // A 1:1 of which neither had a group yet.
    alice.send("@carol", "hello");
    assert_eq!(carol.texts("@alice"), ["hello"]);
    talk(&[&alice, &bob, &carol], "garden", "after");
    // Who takes part in a call says so again.
    for device in [&alice, &bob, &carol] {
        device.run(&["sub", "join", "garden", "call"]).done();
    }
    sync(&[&alice, &bob, &carol]);
    let keys = [&alice, &bob, &carol]
        .map(|device| device.run(&["sub", "key", "garden", "call"]).one()["key"].clone());
    assert!(keys[0].is_string() && keys[0] == keys[1] && keys[1] == keys[2], "{keys:?}");
}

#[test]
fn what_was_begun_after_the_backup_and_has_the_same_id_again_is_begun_again() {
    let mut hub = Hub::start();
    let [alice, bob, carol] = three(&hub);
    alice.run(&["group", "create", "garden", "bob", "carol"]).done();
    let phone = hub.log_in("alice");
    sync(&[&phone, &alice, &bob, &carol]);
    let backup = backup(&hub);

    // A 1:1, the conversation of alice's devices, and a call: their ids follow from whose they are.
    bob.befriend(&carol);
    for text in ["one", "two", "three"] {
        bob.send("@carol", text);
    }
    carol.send("@bob", "four");
    alice.run(&["mute", "garden"]).done();
    for device in [&alice, &bob] {
        device.run(&["sub", "join", "garden", "call"]).done();
    }
    sync(&[&phone, &alice, &bob, &carol]);
    assert!(phone.listed("garden").expect("it is there")["muted"].is_object());
    set_back(&mut hub, &backup);
    sync(&[&phone, &alice, &bob, &carol]);

    bob.befriend(&carol);
    bob.send("@carol", "five");
    carol.send("@bob", "six");
    let said = ["one", "two", "three", "four", "five", "six"];
    assert_eq!(
        (bob.texts("@carol"), carol.texts("@bob")),
        (said.map(str::to_owned).to_vec(), said.map(str::to_owned).to_vec())
    );
    alice.run(&["mute", "garden", "--off"]).done();
    sync(&[&phone, &alice]);
    assert!(phone.listed("garden").expect("it is there")["muted"].is_null());
    for device in [&bob, &alice] {
        device.run(&["sub", "join", "garden", "call"]).done();
    }
    sync(&[&bob, &alice]);
    let keys =
        [&alice, &bob].map(|device| device.run(&["sub", "key", "garden", "call"]).one()["key"].clone());
    assert!(keys[0].is_string() && keys[0] == keys[1], "{keys:?}");
}

#[test]
fn a_conversation_that_went_to_mls_after_the_backup_is_taken_there_again() {
    let mut hub = Hub::start();
    let [alice, bob, carol] = three(&hub);
    alice.run(&["group", "create", "attic", "--protocol", "pairwise", "bob", "carol"]).done();
    alice.run(&["direct", "pairwise", "@bob"]).done();
    talk(&[&alice, &bob, &carol], "attic", "pairwise");
    alice.send("@bob", "pairwise");
    bob.run(&["sync"]).done();
    let backup = backup(&hub);

    // Alice and bob see it, carol does not.
    alice.run(&["group", "migrate", "attic"]).done();
    alice.run(&["direct", "migrate", "@bob"]).done();
    alice.send("attic", "on MLS");
    bob.send("@alice", "on MLS");
    sync(&[&alice, &bob]);
    set_back(&mut hub, &backup);
    sync(&[&alice, &bob, &carol]);

    // In the 1:1 either takes it to MLS again. In the group it takes an admin: what others send waits.
    bob.send("@alice", "again");
    assert_eq!(bob.run(&["send", "attic", "bob waits for an admin"]).code(), "queued");
    alice.send("attic", "again");
    sync(&[&bob, &carol, &alice]);
    for device in [&alice, &bob, &carol] {
        assert_eq!(device.listed("attic").expect("it is there")["protocol"], "mls", "{}", device.handle());
        assert!(device.texts("attic").contains(&"bob waits for an admin".to_owned()), "{}", device.handle());
    }
    talk(&[&alice, &bob, &carol], "attic", "after");
    for (device, other) in [(&alice, "@bob"), (&bob, "@alice")] {
        assert_eq!(device.texts(other), ["pairwise", "on MLS", "again"]);
        assert_eq!(device.listed(other).expect("it is there")["protocol"], "mls");
    }
}

#[test]
fn groups_whose_stored_state_is_damaged_are_begun_anew_with_the_others() {
    let mut hub = Hub::start_with(&["--log-format", "text"]);
    let [alice, bob, carol] = three(&hub);
    let everybody = [&alice, &bob, &carol];
    for group in ["sound", "scratched", "broken"] {
        alice.run(&["group", "create", group, "bob", "carol"]).done();
        alice.run(&["group", "role", group, "carol", "admin"]).done();
        talk(&everybody, group, "before");
    }
    let [scratched, broken] = ["scratched", "broken"].map(|group| id(&alice, group).replace('-', ""));
    let backup = backup(&hub);
    let damage = |data: &Path| {
        let database = open(data);
        let sql = "UPDATE groups SET snapshot = x'0badc0de' WHERE conversation IN (unhex(?1), unhex(?2))";
        assert_eq!(database.execute(sql, [&scratched, &broken]).unwrap(), 2);
        let sql = "UPDATE groups SET group_info = x'00' WHERE conversation = unhex(?1)";
        assert_eq!(database.execute(sql, [&broken]).unwrap(), 1);
    };
    damage(&backup);
    assert_eq!(set_back(&mut hub, &backup)["unreadable_groups"], 2);
    // Once it answers it has looked at them all.
    sync(&everybody);
    let log = hub.log();
    assert_eq!(log.matches("the stored group is damaged").count(), 2, "{log}");

    for group in ["sound", "scratched", "broken"] {
        talk(&everybody, group, "after");
        // Roles are as they were.
        carol.run(&["group", "rename", group, &format!("{group} garden")]).done();
    }
    sync(&everybody);
    for device in everybody {
        let warnings = device.run(&["warnings"]).lines();
        assert!(warnings.is_empty(), "{}: {warnings:?}", device.handle());
    }

    // A hub that was not set back goes on as well; of such a group an admin has it begun anew.
    assert!(hub.terminate().success());
    damage(&hub.data());
    hub.start_again();
    talk(&everybody, "sound garden", "later");
    for group in ["scratched garden", "broken garden"] {
        carol.run(&["group", "reset", group]).done();
        sync(&everybody);
        talk(&everybody, group, "later");
    }
}

#[test]
fn a_backup_made_while_everybody_talks_becomes_a_hub_that_everybody_goes_on_with() {
    let mut hub = Hub::start();
    let [alice, bob, carol] = three(&hub);
    bob.befriend(&carol);
    alice.run(&["group", "create", "garden", "bob", "carol"]).done();
    talk(&[&alice, &bob, &carol], "garden", "before");
    let garden = id(&alice, "garden");

    // Messages and commits of two, on their way while the copy is made. Carol is away.
    let (done, stop) = (Mutex::new(0), AtomicBool::new(false));
    let backup = hub.directory().join("backup");
    let repeat = |work: &dyn Fn(usize)| {
        for number in 0.. {
            work(number);
            *done.lock().unwrap() += 1;
            if stop.load(Ordering::Relaxed) {
                return;
            }
        }
    };
    thread::scope(|scope| {
        scope.spawn(|| {
            repeat(&|number| {
                bob.send(&garden, &format!("bob, number {number}"));
            });
        });
        scope.spawn(|| {
            repeat(&|number| {
                let step = if number % 2 == 0 { "join" } else { "leave" };
                alice.run(&["sub", step, &garden, "call"]).done();
            });
        });
        while *done.lock().unwrap() < 4 {
            thread::yield_now();
        }
        admin(&hub, &["backup"], &[&backup]).done();
        let until = *done.lock().unwrap() + 4;
        while *done.lock().unwrap() < until {
            thread::yield_now();
        }
        stop.store(true, Ordering::Relaxed);
    });
    sync(&[&alice, &bob]);
    assert_eq!(set_back(&mut hub, &backup)["unreadable_groups"], 0);

    // Alice and bob have seen more than the hub has, carol less.
    sync(&[&alice, &bob, &carol]);
    talk(&[&alice, &bob, &carol], &garden, "after");
    bob.send("@carol", "between us");
    assert_eq!(carol.texts("@bob"), ["between us"]);
    // What the hub has is whole: up to the restore one number after the other, and no warning anywhere.
    let database = open(&hub.data());
    let gaps: i64 = database
        .query_row(
            "SELECT count(*) FROM log l JOIN restores r ON l.position <= r.after
             WHERE l.sequence > 1 AND NOT EXISTS (
                 SELECT 1 FROM log b WHERE b.conversation = l.conversation AND b.sequence = l.sequence - 1)",
            (),
            |row| row.get(0),
        )
        .unwrap();
    assert_eq!(gaps, 0);
    for device in [&alice, &bob, &carol] {
        let warnings = device.run(&["warnings"]).lines();
        assert!(warnings.is_empty(), "{}: {warnings:?}", device.handle());
    }
}

#[test]
fn a_restore_that_is_killed_at_any_moment_leaves_the_one_hub_or_the_other() {
    let mut hub = Hub::start();
    let alice = hub.sign_up("alice");
    let old = backup(&hub);
    hub.sign_up("bob");
    let new = hub.directory().join("new");
    admin(&hub, &["backup"], &[&new]).done();
    assert!(hub.terminate().success());
    let accounts = || admin(&hub, &["users", "list"], &[]).lines().len();

    let restore = |from: &Path| {
        let mut command = tertulia();
        command.args(["admin", "restore", "--replace"]).arg(from).arg("--data").arg(hub.data());
        command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
    };
    let begun = Instant::now();
    assert!(restore(&old).wait().unwrap().success());
    let whole = begun.elapsed();
    assert_eq!(accounts(), 1);

    let seed = rand::random::<u64>();
    println!("seed {seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let (mut there, mut other) = ((&old, 1), (&new, 2));
    for _ in 0..16 {
        let mut restoring = restore(other.0);
        thread::sleep(whole.mul_f64(random.random_range(0.0..1.2)));
        restoring.kill().unwrap();
        restoring.wait().unwrap();
        let found = accounts();
        assert!(found == there.1 || found == other.1, "{found} accounts");
        if found == other.1 {
            std::mem::swap(&mut there, &mut other);
        }
        let left =
            hub.data().read_dir().unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
        assert!(
            left.into_iter().all(|name| !name.starts_with("restored-")),
            "something of a restore is left"
        );
    }
    hub.start_again();
    alice.run(&["sync"]).done();
}
