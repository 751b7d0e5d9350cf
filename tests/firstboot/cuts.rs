//! The plug is pulled at each step of a first boot, again and again: the next boot goes on, and the end is that of a boot
//! that nobody disturbed.

use super::machine::{Machine, healthy};

/// Cuts while a program runs that the agent has started: so many of its starts, one after the other.
const PROGRAMS: u32 = 10;
/// Cuts at moments that have nothing to do with any program, spread over a boot.
const MOMENTS: u32 = 40;

fn the_end_is_the_same(version: &str) {
    let port = healthy();
    let undisturbed = Machine::new(version, port);
    undisturbed.whole();
    let again = undisturbed.whole();
    let machine = Machine::new(version, port);
    let mut published = None;
    let mut cut = |cut: &dyn Fn()| {
        cut();
        let now = machine.secrets();
        // Once they are there, they stay; and they are never half there.
        if let Some(published) = &published {
            assert!(now.as_ref() == Some(published), "the cluster's secrets have changed");
        }
        published = now;
    };
    for call in 1..=PROGRAMS {
        cut(&|| machine.cut_at_program(call));
    }
    for moment in 0..MOMENTS {
        cut(&|| machine.cut_after(again * moment / (MOMENTS - 5)));
    }
    machine.whole();
    assert_eq!(machine.state(), undisturbed.state());
}

#[test]
fn harbor_1_1() {
    the_end_is_the_same("v1.1.2");
}

#[test]
fn harbor_2_15() {
    the_end_is_the_same("v2.15.2");
}
