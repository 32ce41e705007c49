//! Values of the user's own types.

use std::sync::mpsc;
use std::thread;

use pool_core::Process;
use pool_queue::{EventProxy, ListProxy, Manager, ManagerError, Proxy};
use serde::{Deserialize, Serialize};

use crate::common::{FOR_EVER, Leftovers, until};

#[derive(Default, Serialize, Deserialize)]
struct Account {
    balance: i64,
    log: Vec<String>,
    news: Option<ListProxy<i64>>,
}

impl Account {
    fn pay(&mut self, amount: i64) -> i64 {
        let before = self.balance;
        if amount == 13 {
            self.log.push("unlucky".to_owned());
            panic!("13 is not paid, the balance is {before}");
        }
        self.balance = before + amount;
        if let Some(news) = &self.news {
            news.push(amount).unwrap();
        }
        self.balance
    }

    fn note(&mut self, text: String, times: usize) {
        self.log.extend(std::iter::repeat_n(text, times));
    }

    fn three(&self, a: u8, b: u8, c: u8) -> u32 {
        u32::from(a) + u32::from(b) + u32::from(c)
    }

    fn entries(&self) -> Vec<String> {
        self.log.clone()
    }

    fn forget(&mut self) {
        self.log.clear();
    }
}

#[test]
fn manager_hosts_any_type_and_calls_its_methods() {
    let _guard = Leftovers::watch();
    let manager = Manager::start().unwrap();
    let account = manager.host(Account::default()).unwrap();
    assert_eq!(account.call(Account::pay, 5), Ok(5));
    account.call(Account::note, ("x".to_owned(), 2)).unwrap();
    assert_eq!(account.call(Account::entries, ()).unwrap(), ["x", "x"]);
    assert_eq!(account.call(Account::three, (1, 2, 3)), Ok(6));
    account.call(Account::forget, ()).unwrap();
    assert_eq!(
        account.call(|account: &mut Account, by: i64| account.balance * by, 3),
        Ok(15)
    );
    let pid = account.call(|_: &Account| std::process::id(), ()).unwrap();
    assert_eq!(Some(pid), manager.pid());
    // In another process the proxy is the same object.
    let other = Process::spawn(
        |account: Proxy<Account>| account.call(Account::pay, 1).unwrap(),
        account.clone(),
    );
    assert_eq!(other.unwrap().join().unwrap(), 6);
}

#[test]
fn a_panic_is_an_error_with_its_text_and_poisons_the_object() {
    let _guard = Leftovers::watch();
    let manager = Manager::start().unwrap();
    let account = manager.host(Account::default()).unwrap();
    let other = manager.host(Account::default()).unwrap();
    let error = account.call(Account::pay, 13).unwrap_err();
    let text = error.to_string();
    assert!(
        text.contains("13 is not paid") && text.contains("hosted.rs"),
        "{text}"
    );
    let poisoned = account.call(Account::pay, 1).unwrap_err();
    assert!(
        matches!(&poisoned, ManagerError::Poisoned { reason } if reason.contains("13 is not paid")),
        "{poisoned}"
    );
    assert_eq!(other.call(Account::pay, 1), Ok(1));
    account.clear_poison().unwrap();
    assert_eq!(account.call(Account::pay, 1), Ok(1));
    assert_eq!(account.call(Account::entries, ()).unwrap(), ["unlucky"]);
}

#[test]
fn calls_of_one_object_are_serial_and_those_of_several_parallel() {
    #[derive(Serialize, Deserialize)]
    struct Meeting {
        mine: EventProxy,
        other: EventProxy,
        inside: bool,
    }
    impl Meeting {
        fn meet(&mut self) -> bool {
            self.mine.set().unwrap();
            self.other.wait_timeout(FOR_EVER).is_ok()
        }
        fn alone(&mut self) -> bool {
            let was_alone = !std::mem::replace(&mut self.inside, true);
            thread::yield_now();
            self.inside = false;
            was_alone
        }
    }
    let _guard = Leftovers::watch();
    let manager = Manager::start().unwrap();
    let (a, b) = (manager.event().unwrap(), manager.event().unwrap());
    let meeting = |mine: &EventProxy, other: &EventProxy| {
        let (mine, other) = (mine.clone(), other.clone());
        manager
            .host(Meeting {
                mine,
                other,
                inside: false,
            })
            .unwrap()
    };
    let (first, second) = (meeting(&a, &b), meeting(&b, &a));
    thread::scope(|scope| {
        // Each waits for the other inside of its call.
        let calls = [&first, &second].map(|proxy| scope.spawn(|| proxy.call(Meeting::meet, ())));
        for call in calls {
            assert_eq!(call.join().unwrap(), Ok(true));
        }
        let (sender, receiver) = mpsc::channel();
        for _ in 0..4 {
            let (sender, first) = (sender.clone(), first.clone());
            scope.spawn(move || {
                (0..50).for_each(|_| sender.send(first.call(Meeting::alone, ())).unwrap())
            });
        }
        drop(sender);
        assert!(receiver.iter().all(|was_alone| was_alone == Ok(true)));
    });
}

#[test]
fn a_hosted_value_holds_proxies_and_lets_them_go() {
    let _guard = Leftovers::watch();
    let manager = Manager::builder()
        .lease(std::time::Duration::from_millis(1))
        .start()
        .unwrap();
    let news = manager.list::<i64>().unwrap();
    let account = Account {
        news: Some(news.clone()),
        ..Account::default()
    };
    let account = manager.host(account).unwrap();
    account.call(Account::pay, 7).unwrap();
    assert_eq!(news.to_vec().unwrap(), [7]);
    drop(news);
    account.call(Account::pay, 8).unwrap();
    let news = account
        .call(|account: &Account| account.news.clone(), ())
        .unwrap()
        .unwrap();
    assert_eq!(news.to_vec().unwrap(), [7, 8]);
    drop((news, account));
    until(0, || manager.objects().unwrap());
}
