//! What a claim proof could not decide.
//!
//! None of these means that the filter is wrong; each says that the exact set of frames it
//! accepts is outside the fragment that is decided (`docs/soundness.md`), and never guessed.

use core::fmt;

/// Why the accepted frames are not known exactly.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum UndecidedReason {
    /// A decision depends on arithmetic that mixes bits of the frame: field with field,
    /// multiplication, division.
    Arithmetic,
    /// A decision compares two values that both come from the frame.
    Relation,
    /// A load's address depends on the frame other than by one header-length field.
    VariableOffset,
    /// A decision depends on the context beyond the frame (device, queue).
    Context,
    /// A decision depends on the stack in a way that is not a plain spill.
    Stack,
    /// A decision depends on an address.
    Address,
    /// A decision, or all of them together, need more cases than a limit allows, which is named.
    Limit,
    /// The certificate's cases leave the witness out, which the filter may accept as far as can be
    /// told without them.
    Uncovered,
    /// Both programs should accept the witness and do not: nothing is claimed.
    Unconfirmed,
}

impl fmt::Display for UndecidedReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Limit => "telling apart what is accepted takes more cases than there may be",
            Self::Arithmetic => {
                "the decision depends on arithmetic over several fields of the frame; compare \
                 each field with constants"
            }
            Self::Relation => {
                "the decision compares two fields of the frame; compare each with constants"
            }
            Self::VariableOffset => {
                "the address depends on the frame by more than one header-length field"
            }
            Self::Context => "the decision depends on the device or queue, not on the frame",
            Self::Stack => "the decision depends on a partly overwritten or mixed stack slot",
            Self::Address => "the decision depends on an address",
            Self::Uncovered => "the certificate has no case for this frame",
            Self::Unconfirmed => "a witness was found that the programs themselves do not accept",
        })
    }
}
