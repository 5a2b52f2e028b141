//! Consumes the queue of deliveries to hooks, one message at a time, and deploys what they tell of.
//!
//! A delivery is a hint that a ref may have changed. The git host says what its commit is now, and the row of the ref says which
//! commit was deployed last. So deliveries that come late, twice or in another order deploy the newest commit once.
//!
//! | the delivery | the message |
//! |---|---|
//! | is gone, or was handled | is deleted |
//! | was handled now, or failed by its own fault | is deleted |
//! | needs a git host that can't be read | is deleted; the sweep sends it again, for six hours |
//! | met a fault of the infrastructure | is delivered again, and after its last delivery by the sweep |

mod call;
mod consumer;
mod outcome;
mod push;

pub use consumer::HookConsumer;
