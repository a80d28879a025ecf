//! One writer, any number of readers beside it.
//!
//! The idea: there are two engines that answer alike. Readers look into the one that is *shown*;
//! the writer changes the other, shows it when it says so ([`Writer::publish`]), and makes the same
//! changes to the first one when the last reader has left it. A reader keeps what it looks into by
//! a count, and compares one number with each call, so it neither waits nor writes anything that
//! others read; what it sees was complete when it was shown, and changes under it never. That
//! takes twice the memory and twice the work of changes, and no trust: the types show it, there is
//! nothing unsafe here and no order of memory accesses to get wrong (decision 079).
//!
//! The caller's rules: a reader that will not be asked for long must [`Reader::rest`], or the
//! writer, which needs the engine that it left, is refused ([`SharedError::Reading`]). All changes
//! since the last `publish` become visible together.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;
use core::sync::atomic::{AtomicU64, Ordering};

use runtime::pages::CodePages;
use spin::Mutex;
use verifier::{BindingId, Claim, GrantId, Owned, PlacedGrant, Refusal, Registry};

use super::value::Rank;
use super::{Engine, Request, Verdict};
use crate::error::EngineError;
use crate::plan::HashKey;

/// Why a change was not made; nothing has changed then.
#[derive(Debug)]
pub enum SharedError {
    /// A reader still looks into the engine that is to be changed; it leaves it with its next call,
    /// or when it rests.
    Reading,
    /// The engine refuses.
    Engine(EngineError),
    /// The registry does.
    Registry(Refusal),
}

impl fmt::Display for SharedError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Reading => write!(f, "a reader still looks into what is to be changed"),
            Self::Engine(error) => write!(f, "{error}"),
            Self::Registry(refusal) => write!(f, "{refusal:?}"),
        }
    }
}

impl From<EngineError> for SharedError {
    fn from(error: EngineError) -> Self {
        Self::Engine(error)
    }
}

/// What readers look into.
#[derive(Debug)]
struct Shown {
    /// How often something was shown. Only a hint: who misses it sees what was shown before.
    generation: AtomicU64,
    engine: Mutex<Arc<Engine>>,
}

/// Changes what readers see. There is one.
#[derive(Debug)]
pub struct Writer {
    shown: Arc<Shown>,
    /// The engine that is changed. Readers may still be in it.
    other: Arc<Engine>,
    /// What is shown and not in the other one yet, from `made` on.
    behind: Vec<Change>,
    made: usize,
    /// What is in the other one and not shown yet.
    ahead: Vec<Change>,
}

/// Looks frames up, beside the writer and other readers.
#[derive(Debug)]
pub struct Reader {
    shown: Arc<Shown>,
    generation: u64,
    engine: Option<Arc<Engine>>,
}

/// A change, to be made a second time.
#[derive(Debug)]
enum Change {
    Bound { claim: Claim, grant: GrantId, depth: u32, id: BindingId },
    Granted { receive: Claim, parent: GrantId, depth: u32, id: GrantId },
    Unbound(BindingId),
    Ungranted(GrantId),
}

impl Writer {
    /// Without any binding. Both engines hash alike.
    #[must_use]
    pub fn new(key: HashKey) -> Self {
        let engine = Mutex::new(Arc::new(Engine::new(key)));
        let shown = Arc::new(Shown { generation: AtomicU64::new(0), engine });
        let other = Arc::new(Engine::new(key));
        Self { shown, other, behind: Vec::new(), made: 0, ahead: Vec::new() }
    }

    /// One more reader.
    #[must_use]
    pub fn reader(&self) -> Reader {
        Reader { shown: Arc::clone(&self.shown), generation: 0, engine: None }
    }

    /// Commits a binding and takes it in; readers see it once it is published.
    ///
    /// # Errors
    /// [`SharedError`]; the registry is then as before, too.
    pub fn insert(
        &mut self,
        owned: Owned<'_>,
        pages: &mut dyn CodePages,
    ) -> Result<BindingId, SharedError> {
        let (grant, depth) = (owned.grant(), owned.depth());
        let claim = owned.claim().clone();
        let (engine, ahead) = self.writable(pages)?;
        let id = engine.insert(owned, pages)?;
        ahead.push(Change::Bound { claim, grant, depth, id });
        Ok(id)
    }

    /// Adopts a grant and takes it in, likewise.
    ///
    /// # Errors
    /// As for [`Writer::insert`].
    pub fn insert_grant(
        &mut self,
        registry: &mut Registry,
        placed: PlacedGrant,
        pages: &mut dyn CodePages,
    ) -> Result<GrantId, SharedError> {
        let (parent, receive) = (placed.parent(), placed.receive().clone());
        let depth = registry.grant(parent).map(|grant| grant.depth().saturating_add(1));
        let depth = depth.ok_or(EngineError::NoSuchGrant)?;
        let (engine, ahead) = self.writable(pages)?;
        let prepared = engine.prepare_grant(registry, &placed, pages)?;
        match registry.adopt(placed) {
            Ok(id) => {
                engine.publish_grant(prepared, id);
                ahead.push(Change::Granted { receive, parent, depth, id });
                Ok(id)
            }
            Err(refusal) => {
                engine.discard_grant(prepared, pages);
                Err(SharedError::Registry(refusal))
            }
        }
    }

    /// Takes a binding out; true if it was there. Readers see it until that is published.
    ///
    /// # Errors
    /// [`SharedError::Reading`], or no memory to do it twice.
    pub fn remove(
        &mut self,
        id: BindingId,
        pages: &mut dyn CodePages,
    ) -> Result<bool, SharedError> {
        let (engine, ahead) = self.writable(pages)?;
        let there = engine.remove(id, pages);
        if there {
            ahead.push(Change::Unbound(id));
        }
        Ok(there)
    }

    /// Takes a grant out, not what is under it, likewise.
    ///
    /// # Errors
    /// As for [`Writer::remove`].
    pub fn remove_grant(
        &mut self,
        id: GrantId,
        pages: &mut dyn CodePages,
    ) -> Result<bool, SharedError> {
        let (engine, ahead) = self.writable(pages)?;
        let there = engine.remove_grant(id, pages);
        if there {
            ahead.push(Change::Ungranted(id));
        }
        Ok(there)
    }

    /// Shows all changes at once: whoever asks from here on gets their verdicts. Cannot fail,
    /// allocates nothing, waits for nobody.
    pub fn publish(&mut self) {
        if self.ahead.is_empty() {
            return;
        }
        core::mem::swap(&mut *self.shown.engine.lock(), &mut self.other);
        self.shown.generation.fetch_add(1, Ordering::Release);
        // Whoever changes something was caught up with before: `behind` is done with.
        self.behind.clear();
        self.made = 0;
        core::mem::swap(&mut self.behind, &mut self.ahead);
    }

    /// Brings the engine that is not shown up to what is. What readers keep alive no more, code
    /// pages of filters that went, is given back here.
    ///
    /// # Errors
    /// [`SharedError::Reading`]; [`SharedError::Engine`] where memory is short: what was not made
    /// then is made the next time.
    pub fn catch_up(&mut self, pages: &mut dyn CodePages) -> Result<(), SharedError> {
        self.writable(pages).map(|_| ())
    }

    /// The engine that is not shown, caught up, and room to note one change more.
    fn writable(
        &mut self,
        pages: &mut dyn CodePages,
    ) -> Result<(&mut Engine, &mut Vec<Change>), SharedError> {
        let engine = Arc::get_mut(&mut self.other).ok_or(SharedError::Reading)?;
        while let Some(change) = self.behind.get(self.made) {
            engine.repeat(change, pages)?;
            self.made += 1;
        }
        self.ahead.try_reserve(1).map_err(|_| EngineError::NoMemory)?;
        Ok((engine, &mut self.ahead))
    }
}

impl Engine {
    /// Makes a change that another engine has seen.
    fn repeat(&mut self, change: &Change, pages: &mut dyn CodePages) -> Result<(), EngineError> {
        match change {
            Change::Bound { claim, grant, depth, id } => {
                self.bindings.reserve(id.index())?;
                let charged = self.account_under(*grant)?;
                let request = Request::of(claim, Rank::binding(*depth)?, charged);
                let holder = self.hold(request, pages)?;
                self.publish(super::Prepared { holder }, *id);
            }
            Change::Granted { receive, parent, depth, id } => {
                let charged = self.account_under(*parent)?;
                let request = Request::of(receive, Rank::grant(*depth)?, charged);
                let holder = self.hold(request, pages)?;
                if let Err(error) = self.open_account(holder, charged) {
                    self.let_go(holder, pages);
                    return Err(error);
                }
                self.publish_grant(super::PreparedGrant { holder }, *id);
            }
            Change::Unbound(id) => {
                self.remove(*id, pages);
            }
            Change::Ungranted(id) => {
                self.remove_grant(*id, pages);
            }
        }
        Ok(())
    }
}

impl Reader {
    /// As [`Engine::classify`], in what is shown now.
    #[inline]
    #[must_use]
    pub fn classify(&mut self, frame: &[u8]) -> Verdict {
        self.engine().classify(frame)
    }

    /// As [`Engine::classify_batch`]: all of them in one state.
    pub fn classify_batch(&mut self, frames: &[&[u8]], verdicts: &mut [Verdict]) {
        self.engine().classify_batch(frames, verdicts);
    }

    /// Leaves the engine that it looked into, until it is asked again.
    pub fn rest(&mut self) {
        self.engine = None;
    }

    /// What is shown now, or was when the generation was last looked at.
    #[inline]
    fn engine(&mut self) -> &Engine {
        let generation = self.shown.generation.load(Ordering::Acquire);
        if self.engine.is_none() || generation != self.generation {
            self.follow(generation);
        }
        // One that has just been followed is there.
        let Self { shown, engine, .. } = self;
        engine.get_or_insert_with(|| Arc::clone(&shown.engine.lock()))
    }

    #[cold]
    fn follow(&mut self, generation: u64) {
        // At least as new as the number: that was counted up after the engine was there.
        let engine = Arc::clone(&self.shown.engine.lock());
        self.engine = Some(engine);
        self.generation = generation;
    }
}

impl Clone for Reader {
    fn clone(&self) -> Self {
        Self { shown: Arc::clone(&self.shown), generation: 0, engine: None }
    }
}
