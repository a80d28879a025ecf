//! Who holds what: objects that go when the last capability to them does.
//!
//! A page goes when no capability names it, nothing maps it and no ring uses it: nobody could ever
//! reach it again. A map goes likewise ([`crate::maps`]). A grant goes when nobody holds it and
//! nothing stands under it. Environments and bindings end by a call, or with their owner.

use crate::Kernel;
use crate::capability::Object;

impl Kernel {
    /// A capability to the object came to be.
    pub(crate) fn hold(&mut self, object: Object) {
        match object {
            Object::Grant(grant) => self.network.hold_grant(grant),
            Object::Page(id) => {
                if let Some(page) = self.memory.page_mut(id) {
                    page.holders += 1;
                }
            }
            Object::Map(id) => self.hold_map(id),
            Object::Environment(_) | Object::Binding(_) | Object::Debug => {}
            Object::Slice(_) | Object::Vector => {}
        }
    }

    /// A capability to the object is gone.
    pub(crate) fn forget(&mut self, object: Object) {
        match object {
            Object::Grant(grant) => self.forget_grant(grant),
            Object::Page(id) => {
                if let Some(page) = self.memory.page_mut(id) {
                    page.holders = page.holders.saturating_sub(1);
                    self.collect_page(id.frame);
                }
            }
            Object::Map(id) => self.forget_map(id),
            Object::Environment(_) | Object::Binding(_) | Object::Debug => {}
            Object::Slice(_) | Object::Vector => {}
        }
    }

    /// Gives a page back that nobody can reach any more.
    pub(crate) fn collect_page(&mut self, frame: u64) {
        let unreachable = |page: &mut crate::pages::Page| {
            page.holders == 0 && page.pins == 0 && page.mappings.is_empty()
        };
        if self.memory.at_mut(frame).is_some_and(unreachable) {
            self.free_page(frame);
        }
    }
}
