//! What the clients on tokio share: a task for each call in flight, all on one thread.

use crate::Shape;
use crate::meter::{Found, Meter};
use rotor_fsm::{Error, Result};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::runtime::{Builder, Runtime};

/// A client that is connected.
pub trait Asker: Clone + Send + 'static {
    /// Makes the call, and says whether the reply is the right one.
    fn ask(&mut self) -> impl Future<Output = Result<bool>> + Send;
}

/// A runtime of one thread.
pub fn runtime() -> Result<Runtime> {
    Ok(Builder::new_current_thread().enable_all().build()?)
}

/// Makes calls until the meter says that it is enough.
pub fn load<A: Asker>(
    shape: Shape,
    meter: Meter,
    connect: impl AsyncFn() -> Result<A>,
) -> Result<Option<Found>> {
    // Never contended: there is one thread. tokio's tasks want something to be shared among threads.
    let meter = Arc::new(Mutex::new(meter));
    runtime()?.block_on(async {
        let mut lanes = Vec::new();
        for _ in 0..shape.connections {
            let asker = connect().await?;
            for _ in 0..shape.in_flight {
                lanes.push(tokio::spawn(lane(asker.clone(), meter.clone())));
            }
        }
        for lane in lanes {
            lane.await??;
        }
        Ok::<_, Error>(())
    })?;
    let mut meter = meter.lock().unwrap_or_else(PoisonError::into_inner);
    Ok(meter.finish()?)
}

/// One call after the other.
async fn lane(mut asker: impl Asker, meter: Arc<Mutex<Meter>>) -> Result<()> {
    loop {
        if !asker.ask().await? {
            return Err(Error::msg("this is not the reply to what was asked"));
        }
        let goes_on = meter.lock().unwrap_or_else(PoisonError::into_inner).count();
        if !goes_on {
            return Ok(());
        }
    }
}
