//! The RPCs.

use std::pin::Pin;
use std::sync::Arc;

use futures::{Stream, StreamExt as _, stream};
use http::HeaderMap;
use tonic::metadata::MetadataMap;
use tonic::{Code, Request, Response, Status, Streaming};

use super::proto::grpc_inference_service_server::GrpcInferenceService;
use super::shares::Whole;
use super::{convert, describe, proto, settings};
use crate::error::{InferenceError, Result};
use crate::memory::Reservation;
use crate::protocol::exchange::{Exchange, Front, Kind};
use crate::protocol::intake::TENSOR_EXPANSION;
use crate::protocol::repository::{self, LoadParameter};
use crate::protocol::shared_memory::Access;
use crate::protocol::{
    NO_CUDA_MEMORY, SERVER_NAME, Service, body, classification, no_cuda_region, no_statistics, version,
};

type Answer<T> = Result<Response<T>, Status>;

const MODEL_INFER: Front = Front {
    name: "inference.GRPCInferenceService/ModelInfer",
    kind: Kind::Grpc("ModelInfer"),
};
/// Each message of a stream is a request of its own.
const MODEL_STREAM_INFER: Front = Front {
    name: "inference.GRPCInferenceService/ModelStreamInfer",
    kind: Kind::Grpc("ModelStreamInfer"),
};

/// Implements the inference service.
pub struct Grpc {
    service: Arc<Service>,
}

impl Grpc {
    pub(super) fn new(service: Arc<Service>) -> Self {
        Self { service }
    }

    /// The share of the memory for requests that a call was given when it came in.
    fn memory<T>(&self, request: &Request<T>) -> Arc<Reservation> {
        let given = request.extensions().get::<Arc<Reservation>>().cloned();
        given.unwrap_or_else(|| Arc::new(self.service.intake.budget.reserve(TENSOR_EXPANSION)))
    }
}

/// The version that a call names, by its message or its metadata.
fn named_version(version: &str, metadata: &MetadataMap) -> Result<Option<u64>> {
    version::of_call(convert::version(version)?, metadata.as_ref())
}

async fn infer(
    service: &Service,
    message: proto::ModelInferRequest,
    memory: &Arc<Reservation>,
    headers: &HeaderMap,
    front: &'static Front,
) -> Result<proto::ModelInferResponse> {
    let mut exchange = Exchange::begin(service, front, headers, &message.model_name);
    let answered = answer(service, message, memory, &mut exchange).await;
    exchange.end(answered)
}

async fn answer(
    service: &Service,
    message: proto::ModelInferRequest,
    memory: &Arc<Reservation>,
    exchange: &mut Exchange<'_>,
) -> Result<proto::ModelInferResponse> {
    let _accepted = service.intake.accepted.begin();
    let headers = exchange.headers();
    let version = version::of_call(convert::version(&message.model_version)?, headers)?;
    let model = service.registry.choose(&message.model_name, version, headers)?;
    let access = Access {
        shared: Arc::clone(&service.shared_memory),
        memory: Arc::clone(memory),
    };
    // What a message refers to may be large where the message is small.
    let size = if service.shared_memory.is_used() {
        usize::MAX
    } else {
        convert::effort(&message)
    };
    let decode = move || convert::request(message, &access);
    let (mut request, wanted) = body::decode(size, decode).await?;
    classification::check(&model.config, &wanted.classes)?;
    request.trace = exchange.received(model.version, &request.id);
    request.headers = version::headers_for(&model, headers);
    let mut answer = model.infer(request, memory).await?;
    exchange.computed();
    let effort = convert::answer_effort(&answer, &wanted);
    body::decode_held(effort, memory, move || {
        classification::apply(&model, &mut answer, &wanted.classes);
        convert::response(answer, &wanted.places)
    })
    .await
}

/// The messages of a stream; once the server stops, those that are there already, and then the end. Whoever always has
/// another one there gets no more time than whoever pauses.
fn until_the_end(
    service: Arc<Service>,
    messages: Streaming<proto::ModelInferRequest>,
) -> impl Stream<Item = Result<proto::ModelInferRequest, Status>> + Send + 'static {
    let stop = service.intake.stop.clone();
    let too_late = Box::pin(async move { service.intake.too_late().await });
    stream::unfold(Some((stop, too_late, messages)), |open| async {
        let (stop, mut too_late, mut messages) = open?;
        let message = tokio::select! {
            biased;
            () = &mut too_late => None,
            message = messages.next() => Some(message?.map_err(too_large)),
            () = stop.cancelled() => None,
        };
        Some(match message {
            Some(message) => (message, Some((stop, too_late, messages))),
            None => {
                let end = Status::unavailable("this server ends; open the stream again");
                (Err(end), None)
            }
        })
    })
}

/// A message beyond the bound has the code that every other implementation gives it.
fn too_large(status: Status) -> Status {
    match status.code() {
        Code::OutOfRange => Status::resource_exhausted(status.message()),
        _ => status,
    }
}

fn load_parameter((name, value): (String, proto::ModelRepositoryParameter)) -> (String, LoadParameter) {
    use proto::model_repository_parameter::ParameterChoice;
    let parameter = match value.parameter_choice {
        Some(ParameterChoice::StringParam(text)) => LoadParameter::Text(text),
        Some(ParameterChoice::BytesParam(content)) => LoadParameter::Content(content.into()),
        _ => LoadParameter::Other,
    };
    (name, parameter)
}

fn unsupported<T>(what: &str) -> Answer<T> {
    Err(InferenceError::unsupported(what).into())
}

/// A name, where one is given.
fn named(name: &str) -> Option<&str> {
    Some(name).filter(|name| !name.is_empty())
}

const NO_REPOSITORY_NAME: &str = "'repository_name' specification is not supported";

#[tonic::async_trait]
impl GrpcInferenceService for Grpc {
    async fn server_live(&self, _: Request<proto::ServerLiveRequest>) -> Answer<proto::ServerLiveResponse> {
        Ok(Response::new(proto::ServerLiveResponse { live: true }))
    }

    async fn server_ready(
        &self,
        _: Request<proto::ServerReadyRequest>,
    ) -> Answer<proto::ServerReadyResponse> {
        Ok(Response::new(proto::ServerReadyResponse {
            ready: self.service.lifecycle.is_ready(),
        }))
    }

    async fn model_ready(
        &self,
        request: Request<proto::ModelReadyRequest>,
    ) -> Answer<proto::ModelReadyResponse> {
        let (metadata, _, request) = request.into_parts();
        let version = named_version(&request.version, &metadata)?;
        let found = self.service.registry.find(&request.name, version);
        let ready = found.and_then(|model| model.check_ready()).is_ok();
        Ok(Response::new(proto::ModelReadyResponse { ready }))
    }

    async fn server_metadata(
        &self,
        _: Request<proto::ServerMetadataRequest>,
    ) -> Answer<proto::ServerMetadataResponse> {
        Ok(Response::new(proto::ServerMetadataResponse {
            name: SERVER_NAME.to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            extensions: self.service.extensions().into_iter().map(str::to_owned).collect(),
        }))
    }

    async fn model_metadata(
        &self,
        request: Request<proto::ModelMetadataRequest>,
    ) -> Answer<proto::ModelMetadataResponse> {
        let (metadata, _, request) = request.into_parts();
        let named = named_version(&request.version, &metadata)?;
        let model = self.service.registry.find(&request.name, named)?;
        let versions = match named {
            Some(version) => vec![version],
            None => {
                let versions = self.service.registry.versions(&request.name)?;
                versions.iter().map(|version| version.version).collect()
            }
        };
        Ok(Response::new(describe::metadata(&model, &versions)))
    }

    async fn model_infer(
        &self,
        request: Request<proto::ModelInferRequest>,
    ) -> Answer<proto::ModelInferResponse> {
        let memory = self.memory(&request);
        let (metadata, _, message) = request.into_parts();
        Ok(Response::new(
            infer(&self.service, message, &memory, metadata.as_ref(), &MODEL_INFER).await?,
        ))
    }

    type ModelStreamInferStream =
        Pin<Box<dyn Stream<Item = Result<proto::ModelStreamInferResponse, Status>> + Send + 'static>>;

    /// One request after another, so answers come in order. An error of one does not end the stream.
    async fn model_stream_infer(
        &self,
        request: Request<Streaming<proto::ModelInferRequest>>,
    ) -> Answer<Self::ModelStreamInferStream> {
        let service = Arc::clone(&self.service);
        let shares = request
            .extensions()
            .get::<Arc<Whole>>()
            .cloned()
            .unwrap_or_default();
        let (metadata, _, messages) = request.into_parts();
        let metadata = Arc::new(metadata);
        let messages = until_the_end(Arc::clone(&service), messages);
        let answers = messages.then(move |message| {
            let (service, shares) = (Arc::clone(&service), Arc::clone(&shares));
            let metadata = Arc::clone(&metadata);
            async move {
                let message = message?;
                let budget = &service.intake.budget;
                let share = shares.next();
                let memory = share.unwrap_or_else(|| Arc::new(budget.reserve(TENSOR_EXPANSION)));
                let id = message.id.clone();
                let headers = (*metadata).as_ref();
                let answered = infer(&service, message, &memory, headers, &MODEL_STREAM_INFER).await;
                Ok(match answered {
                    Ok(mut answer) => {
                        convert::mark_final(&mut answer);
                        proto::ModelStreamInferResponse {
                            error_message: String::new(),
                            infer_response: Some(answer),
                        }
                    }
                    Err(error) => proto::ModelStreamInferResponse {
                        error_message: error.message,
                        // Carries the id, by which clients match the error with their request.
                        infer_response: Some(proto::ModelInferResponse {
                            id,
                            ..Default::default()
                        }),
                    },
                })
            }
        });
        Ok(Response::new(Box::pin(answers)))
    }

    async fn model_config(
        &self,
        request: Request<proto::ModelConfigRequest>,
    ) -> Answer<proto::ModelConfigResponse> {
        let (metadata, _, request) = request.into_parts();
        let version = named_version(&request.version, &metadata)?;
        let model = self.service.registry.find(&request.name, version)?;
        Ok(Response::new(proto::ModelConfigResponse {
            config: Some(describe::config(&model.config)),
        }))
    }

    async fn model_statistics(
        &self,
        request: Request<proto::ModelStatisticsRequest>,
    ) -> Answer<proto::ModelStatisticsResponse> {
        let (metadata, _, request) = request.into_parts();
        let registry = &self.service.registry;
        let versions = match request.name.as_str() {
            "" => Ok(registry.all()),
            name => {
                let version = named_version(&request.version, &metadata)?;
                let found = match version {
                    None => registry.versions(name),
                    Some(_) => registry.find(name, version).map(|found| vec![found]),
                };
                found.map_err(|_| no_statistics(name, version))
            }
        }?;
        let model_stats = versions
            .iter()
            .map(|version| describe::statistics(version))
            .collect();
        Ok(Response::new(proto::ModelStatisticsResponse { model_stats }))
    }

    async fn repository_index(
        &self,
        request: Request<proto::RepositoryIndexRequest>,
    ) -> Answer<proto::RepositoryIndexResponse> {
        let request = request.into_inner();
        if !request.repository_name.is_empty() {
            return unsupported(NO_REPOSITORY_NAME);
        }
        let index = repository::index(&self.service, request.ready).await?;
        Ok(Response::new(describe::index(index)))
    }

    async fn repository_model_load(
        &self,
        request: Request<proto::RepositoryModelLoadRequest>,
    ) -> Answer<proto::RepositoryModelLoadResponse> {
        let share = request.extensions().get::<Arc<Reservation>>().cloned();
        let request = request.into_inner();
        if !request.repository_name.is_empty() {
            return unsupported(NO_REPOSITORY_NAME);
        }
        let _accepted = self.service.intake.accepted.begin();
        let parameters = request.parameters.into_iter().map(load_parameter);
        repository::load(&self.service, request.model_name, parameters, share).await?;
        Ok(Response::new(proto::RepositoryModelLoadResponse {}))
    }

    async fn repository_model_unload(
        &self,
        request: Request<proto::RepositoryModelUnloadRequest>,
    ) -> Answer<proto::RepositoryModelUnloadResponse> {
        let request = request.into_inner();
        if !request.repository_name.is_empty() {
            return unsupported(NO_REPOSITORY_NAME);
        }
        let with_dependents = matches!(
            request
                .parameters
                .get("unload_dependents")
                .map(|value| &value.parameter_choice),
            Some(Some(
                proto::model_repository_parameter::ParameterChoice::BoolParam(true)
            ))
        );
        repository::unload(&self.service, request.model_name, with_dependents).await?;
        Ok(Response::new(proto::RepositoryModelUnloadResponse {}))
    }

    async fn system_shared_memory_status(
        &self,
        request: Request<proto::SystemSharedMemoryStatusRequest>,
    ) -> Answer<proto::SystemSharedMemoryStatusResponse> {
        let name = request.into_inner().name;
        let regions = self.service.shared_memory.status(named(&name))?;
        Ok(Response::new(describe::regions(&regions)))
    }

    async fn system_shared_memory_register(
        &self,
        request: Request<proto::SystemSharedMemoryRegisterRequest>,
    ) -> Answer<proto::SystemSharedMemoryRegisterResponse> {
        let region = request.into_inner();
        self.service
            .shared_memory
            .register(region.name, region.key, region.offset, region.byte_size)?;
        Ok(Response::new(Default::default()))
    }

    async fn system_shared_memory_unregister(
        &self,
        request: Request<proto::SystemSharedMemoryUnregisterRequest>,
    ) -> Answer<proto::SystemSharedMemoryUnregisterResponse> {
        let name = request.into_inner().name;
        self.service.shared_memory.unregister(named(&name));
        Ok(Response::new(Default::default()))
    }

    async fn cuda_shared_memory_status(
        &self,
        request: Request<proto::CudaSharedMemoryStatusRequest>,
    ) -> Answer<proto::CudaSharedMemoryStatusResponse> {
        match request.into_inner().name.as_str() {
            "" => Ok(Response::new(Default::default())),
            region => Err(no_cuda_region(region).into()),
        }
    }

    async fn cuda_shared_memory_register(
        &self,
        _: Request<proto::CudaSharedMemoryRegisterRequest>,
    ) -> Answer<proto::CudaSharedMemoryRegisterResponse> {
        unsupported(NO_CUDA_MEMORY)
    }

    async fn cuda_shared_memory_unregister(
        &self,
        _: Request<proto::CudaSharedMemoryUnregisterRequest>,
    ) -> Answer<proto::CudaSharedMemoryUnregisterResponse> {
        Ok(Response::new(Default::default()))
    }

    async fn trace_setting(
        &self,
        request: Request<proto::TraceSettingRequest>,
    ) -> Answer<proto::TraceSettingResponse> {
        Ok(Response::new(settings::trace(
            &self.service,
            request.into_inner(),
        )?))
    }

    async fn log_settings(
        &self,
        request: Request<proto::LogSettingsRequest>,
    ) -> Answer<proto::LogSettingsResponse> {
        Ok(Response::new(settings::log(&self.service, request.into_inner())?))
    }
}
