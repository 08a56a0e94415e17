//! Our tools as a server of the protocol, on a pair of pipes: who connects may call what reads, and what was granted.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use rmcp::model::{
    CallToolRequestParams, CallToolResponse, CallToolResult, ContentBlock, ErrorData, Implementation,
    ListToolsResult, PaginatedRequestParams, ServerCapabilities, ServerConfig, Tool as Described,
    ToolAnnotations,
};
use rmcp::service::RequestContext;
use rmcp::transport::async_rw::AsyncRwTransport;
use rmcp::{RoleServer, ServerHandler, ServiceExt as _};
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncWrite};

use super::connection::MESSAGE_BYTES_MAX;
use crate::tool::toolbox::{self, Need};
use crate::tool::{Effect, ToolCard, ToolFault, Toolbox};
use crate::{Error, Result};

/// What a server gives to whoever connects.
#[derive(Debug)]
pub struct Served {
    /// The tools; those that write or pay are offered only where a grant covers them.
    pub tools: Toolbox,
    /// Calls of one connection.
    pub call_count_max: u64,
    /// What the tools are for, for a model to read.
    pub instructions: String,
}

/// Serves one connection until the other side closes it.
///
/// # Errors
/// [`Error::Server`] where the other side does not speak the protocol.
pub async fn serve<R, W>(served: Served, input: R, output: W) -> Result<()>
where
    R: AsyncRead + Send + Unpin + 'static,
    W: AsyncWrite + Send + Unpin + 'static,
{
    let failed = |why: String| Error::Server { what: "MCP client", why };
    let session = Session::new(served);
    let transport = AsyncRwTransport::new(input, output).with_max_line_length(MESSAGE_BYTES_MAX);
    let running = session.serve(transport).await.map_err(|error| failed(error.to_string()))?;
    running.waiting().await.map_err(|error| failed(error.to_string()))?;
    Ok(())
}

/// What is served, and how much of it is left.
#[derive(Debug)]
pub(crate) struct Session {
    tools: Mutex<Toolbox>,
    calls_left: AtomicU64,
    instructions: String,
}

impl Session {
    pub(crate) fn new(served: Served) -> Self {
        let Served { tools, call_count_max, instructions } = served;
        Self { tools: Mutex::new(tools), calls_left: AtomicU64::new(call_count_max), instructions }
    }

    /// What the tools are for.
    pub(crate) fn instructions(&self) -> &str {
        &self.instructions
    }

    /// The tools that may be called, as the protocol has them.
    pub(crate) fn offered(&self) -> Vec<Described> {
        let tools = self.tools();
        tools.cards().filter(|card| tools.may_be_called(card)).map(described).collect()
    }

    fn tools(&self) -> Toolbox {
        self.tools.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// One call, under the rules of any other. The arguments are those of a model we do not know, which may have read
    /// anything: nothing that writes goes through without a permission.
    pub(crate) async fn call(&self, name: &str, arguments: Value) -> std::result::Result<String, ToolFault> {
        let spend = |left: u64| left.checked_sub(1);
        if self.calls_left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, spend).is_err() {
            return Err(ToolFault::new("no calls of tools are left"));
        }
        let (tool, arguments) = self.tools().prepare(name, &arguments.to_string())?;
        let need =
            self.tools.lock().unwrap_or_else(PoisonError::into_inner).need(tool.card(), &arguments, true);
        let refused = match need {
            Need::Nothing => None,
            Need::Refused(why) => Some(why),
            Need::Person => self.tools().ask_person(tool.card(), &arguments).await,
        };
        match refused {
            Some(why) => Err(ToolFault(why)),
            None => Ok(toolbox::call(&*tool, arguments, None, self.tools().secrets()).await?.text),
        }
    }
}

pub(crate) fn described(card: &ToolCard) -> Described {
    let input = card.input.as_object().cloned().unwrap_or_default();
    let mut hints = ToolAnnotations::default();
    hints.read_only_hint = Some(card.effect == Effect::Read);
    Described::new(card.name.clone(), card.description.clone(), input).with_annotations(hints)
}

impl ServerHandler for Session {
    fn get_info(&self) -> ServerConfig {
        let us = Implementation::new("loyal", env!("CARGO_PKG_VERSION"));
        ServerConfig::new(ServerCapabilities::builder().enable_tools().build())
            .with_server_info(us)
            .with_instructions(self.instructions.clone())
    }

    async fn list_tools(
        &self,
        _: Option<PaginatedRequestParams>,
        _: RequestContext<RoleServer>,
    ) -> std::result::Result<ListToolsResult, ErrorData> {
        Ok(ListToolsResult::with_all_items(self.offered()))
    }

    async fn call_tool(
        &self,
        request: CallToolRequestParams,
        context: RequestContext<RoleServer>,
    ) -> std::result::Result<CallToolResponse, ErrorData> {
        let arguments = Value::Object(request.arguments.unwrap_or_default());
        let result = tokio::select! {
            result = self.call(&request.name, arguments) => result,
            // Whoever asked no longer wants it: the work is dropped where it stands.
            () = context.ct.cancelled() => Err(ToolFault::new("the call was cancelled")),
        };
        let result = match result {
            Ok(text) => CallToolResult::success(vec![ContentBlock::text(text)]),
            Err(fault) => CallToolResult::error(vec![ContentBlock::text(fault.to_string())]),
        };
        Ok(result.into())
    }
}
