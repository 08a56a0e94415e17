//! Clocks that are wrong, of the host and of its callers.

use std::sync::atomic::Ordering;

use loyal_access::Error;

use super::accounts::{close, receipted};
use super::stage::{Stage, ask, said};

const SKEWS: [i64; 5] = [0, 120, -120, 3_600, -3_600];

#[test]
fn clocks_that_are_wrong_are_answered_or_refused_by_name_and_cost_nothing() {
    let stage = Stage::open();
    let mut host = stage.host();
    let file = stage.credential(0);
    let mut seed = 0;
    for of_host in SKEWS {
        for of_caller in SKEWS {
            seed += 1;
            stage.host_clock.seconds.store(of_host, Ordering::SeqCst);
            stage.caller_clock.seconds.store(of_caller, Ordering::SeqCst);
            assert!(stage.turn(&mut host).failed.is_empty());
            let asked = stage.engine.asked().len();
            let caller = stage.caller(0, &file, seed);
            let prompt = format!("{of_host} and {of_caller}");
            // An invocation is good for ten minutes by its caller's clock, which follows the chain where it is behind.
            let is_late = of_host > of_caller.max(0) + 600;
            match ask(&caller, &prompt) {
                Ok(text) => assert!(!is_late && text == said(&prompt), "{prompt}"),
                Err(Error::Denied { status: 403, code, .. }) => {
                    assert!(is_late && code == "deadline", "{prompt}: {code}");
                    assert_eq!(stage.engine.asked().len(), asked);
                }
                Err(error) => panic!("{prompt}: {error}"),
            }
        }
    }
    stage.host_clock.seconds.store(0, Ordering::SeqCst);
    stage.caller_clock.seconds.store(0, Ordering::SeqCst);
    ask(&stage.caller(0, &file, 200), "right again").unwrap();
    // A credential ends by the host's clock, where that is ahead of the chain's.
    stage.host_clock.seconds.store(61 * 86_400, Ordering::SeqCst);
    let error = ask(&stage.caller(0, &file, 201), "too late").unwrap_err();
    assert!(matches!(&error, Error::Denied { code, .. } if code == "credential_time"), "{error}");
    stage.host_clock.seconds.store(0, Ordering::SeqCst);
    assert_eq!(close(&stage, host), [receipted(&stage, 0), 0]);
}
