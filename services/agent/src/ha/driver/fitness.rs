//! Whether PostgreSQL could serve here, as the supervisor tells it; the protocol hears what follows.

use pgo_ha::Input;

use super::{Driver, DriverError};
use crate::{ha::clock, store::Store};

impl<S: Store> Driver<S> {
    pub(super) async fn starts(&mut self, starts: bool) -> Result<(), DriverError> {
        self.fitness.starts(starts, clock::now());
        self.judge_fitness().await
    }

    pub(super) async fn answers(&mut self, answers: bool) -> Result<(), DriverError> {
        self.fitness.answers(answers);
        if answers {
            tracing::info!("the data volume answers again");
        } else {
            tracing::error!("the data volume hangs: nothing written to it came to an end in time");
        }
        self.show();
        self.judge_fitness().await
    }

    pub(super) async fn judge_fitness(&mut self) -> Result<(), DriverError> {
        let Some(fit) = self.fitness.judge(&self.agent, clock::now()) else {
            return Ok(());
        };
        if !fit {
            tracing::error!(fitness = ?self.fitness, "PostgreSQL cannot serve here; another instance is to take over");
        }
        self.step(Input::Fit(fit)).await
    }
}
