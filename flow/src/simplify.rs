//! Fewer rules for the same set.
//!
//! A rule inside another one goes; two rules that differ in one set, or in lengths that touch,
//! become one. Every comparison is of tests as they stand, so that nothing here needs a proof. The
//! result depends on the order of the rules; that it is smallest is not promised.

use alloc::vec::Vec;

use crate::rule::Rule;
use crate::space::Space;

impl Space {
    /// The same set with rules merged and superfluous rules dropped. Quadratic in the number of
    /// rules: a merge starts one rule over, and takes one away.
    #[must_use]
    pub fn simplify(&self) -> Space {
        let mut kept: Vec<Rule> = Vec::with_capacity(self.rules().len());
        for rule in self.rules() {
            add(&mut kept, rule.clone());
        }
        Space::from_rules(kept)
    }

    /// Adds the frames of a rule, merging it with what is there. Linear in the number of rules, and
    /// again for each that it takes up.
    pub fn absorb(&mut self, rule: Rule) {
        let mut kept = core::mem::take(self).into_rules();
        add(&mut kept, rule);
        *self = Space::from_rules(kept);
    }
}

/// Adds `rule` to `kept`, absorbing what it can. Ends, because each round takes one rule out.
fn add(kept: &mut Vec<Rule>, mut rule: Rule) {
    loop {
        if kept.iter().any(|other| rule.is_plainly_inside(other)) {
            return;
        }
        let merged = kept.iter().enumerate().find_map(|(index, other)| {
            let merged =
                if other.is_plainly_inside(&rule) { Some(rule.clone()) } else { rule.merge(other) };
            merged.map(|merged| (index, merged))
        });
        let Some((index, merged)) = merged else {
            kept.push(rule);
            return;
        };
        kept.remove(index);
        rule = merged;
    }
}
