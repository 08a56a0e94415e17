//! A request on its way through the host: one of those under way, what is known of it, and its line of the log.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use alloy_primitives::U256;
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use loyal_access::gate::{Admitted, Refused, Settled};

use super::super::fault::Fault;
use super::super::log::Line;
use super::absence::Absence;
use super::{Gateway, refuse};

/// Invocations judged or answered at the same time; more wait outside.
const UNDER_WAY_MAX: usize = 8_192;

/// One of the requests under way; its line is written when it ends, however it ends.
pub(super) struct Visit {
    gateway: Arc<Gateway>,
    began: Duration,
    line: Line,
    is_told: bool,
}

impl Visit {
    /// A request comes in; where it may not, its answer.
    pub(super) fn begin(
        gateway: &Arc<Gateway>,
        address: IpAddr,
        path: &'static str,
    ) -> Result<Self, Box<Response>> {
        let taken = gateway.under_way.fetch_add(1, Ordering::Relaxed);
        let began = gateway.clock.elapsed();
        let line = Line { at: gateway.clock.unix_millis(), address: Some(address), path, ..Line::default() };
        let mut visit = Self { gateway: Arc::clone(gateway), began, line, is_told: false };
        if taken >= UNDER_WAY_MAX {
            gateway.turned_away.full.fetch_add(1, Ordering::Relaxed);
            return Err(visit.turn_away(&Fault::busy(1), "full").into());
        }
        if let Err(wait) = gateway.clients.approach(address, began) {
            gateway.turned_away.address.fetch_add(1, Ordering::Relaxed);
            return Err(visit.turn_away(&Fault::too_often(wait.seconds()), "address_limited").into());
        }
        Ok(visit)
    }

    /// An answer without a look at the request.
    pub(super) fn turn_away(&mut self, fault: &Fault, code: &str) -> Response {
        let response = fault.clone().into_response();
        self.line.admission_us = self.since();
        self.line.code = Some(code.to_owned());
        self.end(response)
    }

    /// How much was asked.
    pub(super) const fn read(&mut self, bytes: usize) {
        self.line.bytes_in = bytes;
    }

    /// It was admitted: whose it is. Where the caller came too often, its answer.
    pub(super) fn admit(&mut self, admitted: &Admitted) -> Result<(), Box<Response>> {
        self.line.admission_us = self.since();
        self.line.holder = Some(admitted.holder());
        self.line.invocation = Some(admitted.invocation());
        self.line.is_stream = admitted.request().is_stream();
        let invoked = self.gateway.clients.invoke(admitted.holder(), self.gateway.clock.elapsed());
        invoked.map_err(|wait| {
            self.gateway.turned_away.caller.fetch_add(1, Ordering::Relaxed);
            self.line.code = Some("caller_limited".to_owned());
            Box::new(self.end(Fault::too_often(wait.seconds()).into_response()))
        })
    }

    /// It was refused.
    pub(super) fn refuse(&mut self, refused: &Refused) -> Response {
        if self.line.admission_us == 0 {
            self.line.admission_us = self.since();
        }
        self.line.code = Some(refused.code.to_owned());
        self.end(refuse(refused))
    }

    /// It was charged.
    pub(super) fn charge(&mut self, settled: &Settled) {
        let receipt = &settled.receipt.receipt.receipt;
        self.line.tokens_in = receipt.tokensIn;
        self.line.tokens_out = receipt.tokensOut;
        self.line.amount = Some(U256::from(receipt.amount).to_string());
    }

    /// What is sent, as far as its head says. Whoever is told that it asked wrongly was not charged: that counts against its
    /// address.
    pub(super) fn end(&mut self, response: Response) -> Response {
        let status = response.status();
        if status.is_client_error()
            && status != StatusCode::TOO_MANY_REQUESTS
            && let Some(address) = self.line.address
        {
            self.gateway.clients.refuse(address, self.gateway.clock.elapsed());
        }
        self.line.status = status.as_u16();
        self.is_told = true;
        response
    }

    /// The caller's connection ended.
    pub(super) fn absence(&self) -> Absence {
        self.gateway.absences.begin(self.line.invocation.unwrap_or_default())
    }

    /// The caller went away.
    pub(super) const fn leave(&mut self) {
        self.line.has_left = true;
    }

    /// What answers broke off in the middle of a stream: nothing is charged.
    pub(super) fn break_off(&mut self) {
        self.line.code = Some("broken_off".to_owned());
    }

    fn since(&self) -> u64 {
        let since = self.gateway.clock.elapsed().saturating_sub(self.began);
        u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
    }
}

impl Drop for Visit {
    fn drop(&mut self) {
        self.gateway.under_way.fetch_sub(1, Ordering::Relaxed);
        let Some(log) = &self.gateway.log else { return };
        let mut line = std::mem::take(&mut self.line);
        line.us = self.since();
        // Dropped before it had an answer: who asked went away.
        line.has_left |= !self.is_told;
        log.write(line);
    }
}
