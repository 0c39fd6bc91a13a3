//! Names that turn private: whatever a name server says later, nothing leads where it may not.
//!
//! 127.0.0.2 is allowed, and stands for the customer's server; 127.0.0.1 is not, and stands for
//! what an attacker wants to reach. Both listen at the same port, so that nothing but the
//! address guard keeps outhook from it.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::time::Instant;

use crate::support::dns::{Answer, DnsServer, NXDOMAIN};
use crate::support::ndjson::Letter;
use crate::support::receiver::Receiver;
use crate::support::service::{Outhook, Service};
use crate::support::{DEADLINE, MS, message, until};

const GOOD: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(127, 0, 0, 2));
const BAD: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(127, 0, 0, 1));

/// The customer's server, which answers with this status, and the attacker's aim.
fn receivers(status: u16) -> (Receiver, Receiver) {
    let aim = Receiver::ok();
    let customer = Receiver::status_at(&format!("{GOOD}:{}", aim.addr.port()), status);
    (customer, aim)
}

fn deliver(dns: &DnsServer, args: &[&str]) -> Service {
    let allow = format!("--allow-cidr={GOOD}");
    let own = ["deliver", &dns.option(), &allow];
    Outhook::new(&[&own[..], args].concat()).guarded().spawn()
}

/// The good address for a moment, and the bad one from the second question on.
fn rebinding() -> DnsServer {
    let asked = AtomicUsize::new(0);
    DnsServer::answering(move |question| match question.is_v4 {
        true if asked.fetch_add(1, SeqCst) == 0 => Answer::Addresses(vec![GOOD], 0),
        true => Answer::Addresses(vec![BAD], 0),
        false => Answer::Addresses(Vec::new(), 0),
    })
}

/// One message is tried again and again until its name is another's.
fn assert_refused_on_a_retry(args: &[&str]) -> (Receiver, Receiver) {
    let (customer, aim) = receivers(500);
    let dns = rebinding();
    let many = [
        "--max-attempts=1000",
        "--backoff-base=50ms",
        "--backoff-max=50ms",
    ];
    let mut service = deliver(&dns, &[&many[..], args].concat());
    let url = format!("http://rebind.customer.test:{}/", aim.addr.port());
    service.write(message(&url, "a", "1") + "\n");
    let line = service.log.wait("dead=refused_address");
    assert!(
        line.contains("rebind.customer.test leads to 127.0.0.1 is refused"),
        "{line}"
    );
    service.close_stdin();
    assert_eq!(service.wait_exit(DEADLINE), 1);
    let letters = Letter::among(&service.log.all());
    assert_eq!(letters[0].text("reason"), "refused_address");
    assert_eq!(letters[0].number("attempts") as usize, customer.count());
    assert_eq!(letters[0].number("status"), 500);
    assert!(dns.asked_for("rebind.customer.test") >= 2);
    assert_eq!(aim.connected(), 0);
    (customer, aim)
}

#[test]
fn a_retry_that_dials_goes_by_the_new_answer() {
    let (customer, _) = assert_refused_on_a_retry(&["--max-idle-connections=0"]);
    assert_eq!(customer.connected(), customer.count());
}

#[test]
fn a_retry_on_a_kept_connection_goes_by_the_new_answer() {
    let (customer, _) = assert_refused_on_a_retry(&[]);
    assert!(customer.connected() < customer.count());
}

/// Delivers one message after another on one connection, until one is not delivered.
fn deliver_until(service: &mut Service, url: &str, end: impl Fn(usize) -> bool) -> usize {
    static CALLS: AtomicUsize = AtomicUsize::new(0);
    let (mut n, call) = (0, CALLS.fetch_add(1, SeqCst));
    let begun = Instant::now();
    loop {
        assert!(begun.elapsed() < DEADLINE, "{n} delivered, and no end");
        let id = format!("m{call}-{n}");
        service.write(message(url, &id, "1") + "\n");
        let line = service.log.wait(&format!(" id={id} "));
        if !line.contains("delivered") || end(n) {
            return n;
        }
        n += 1;
        std::thread::sleep(20 * MS);
    }
}

#[test]
fn a_kept_connection_is_not_used_once_its_name_has_turned_private() {
    let (customer, aim) = receivers(200);
    let dns = rebinding();
    let mut service = deliver(&dns, &[]);
    let url = format!("http://rebind.customer.test:{}/", aim.addr.port());
    let delivered = deliver_until(&mut service, &url, |_| false);
    let line = service.log.wait("dead=refused_address");
    assert!(
        line.contains("rebind.customer.test leads to 127.0.0.1"),
        "{line}"
    );
    assert_eq!((customer.connected(), customer.count()), (1, delivered));
    // And so it stays, whatever is kept.
    let more = deliver_until(&mut service, &url, |_| false);
    assert_eq!((more, aim.connected()), (0, 0));
}

#[test]
fn a_kept_connection_outlives_its_name_and_not_its_return_as_another() {
    let (customer, aim) = receivers(200);
    let state = Arc::new(AtomicUsize::new(0));
    let (now, told) = (state.clone(), Arc::new(AtomicBool::new(false)));
    let seen = told.clone();
    let dns = DnsServer::answering(move |question| match now.load(SeqCst) {
        0 if question.is_v4 => Answer::Addresses(vec![GOOD], 0),
        0 => Answer::Addresses(Vec::new(), 0),
        1 => {
            seen.store(true, SeqCst);
            Answer::Code(NXDOMAIN)
        }
        _ => Answer::Addresses(vec![BAD], 0),
    });
    let mut service = deliver(&dns, &[]);
    let url = format!("http://gone.customer.test:{}/", aim.addr.port());
    assert_eq!(deliver_until(&mut service, &url, |n| n == 0), 0);
    state.store(1, SeqCst);
    let count = |n: usize| customer.count() > n;
    deliver_until(&mut service, &url, |_| told.load(SeqCst));
    // It is known to be gone now, and the connection is as good as before.
    let before = customer.count();
    deliver_until(&mut service, &url, |_| count(before + 20));
    assert!(count(before + 20) && customer.connected() == 1);
    state.store(2, SeqCst);
    deliver_until(&mut service, &url, |_| false);
    service
        .log
        .wait("gone.customer.test leads to 127.0.0.1 is refused");
    until("nobody to be there", || {
        (aim.connected() == 0).then_some(())
    });
}
