//! How a request that is not done is answered.

use std::error::Error as _;

use axum::{
    body::Body,
    response::{IntoResponse, Response},
};
use http::{
    HeaderValue, StatusCode,
    header::{ALLOW, CONTENT_TYPE, X_CONTENT_TYPE_OPTIONS},
};
use pgo_api::{NoRoute, Outcome, texts};
use serde::Serialize;

/// Why a handler did not do what was asked: the `Msg` of an answer with `Code` `error`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refusal(pub String);

impl From<String> for Refusal {
    fn from(why: String) -> Self {
        Self(why)
    }
}

impl From<kube::Error> for Refusal {
    fn from(error: kube::Error) -> Self {
        Self(kubernetes_text(&error))
    }
}

/// What Kubernetes says, in its own words where it answered.
pub(crate) fn kubernetes_text(error: &kube::Error) -> String {
    match error {
        kube::Error::Api(status) if !status.message.is_empty() => status.message.clone(),
        kube::Error::Api(status) => format!("Kubernetes answers {} {}", status.code, status.reason),
        kube::Error::SerdeError(error) => {
            format!("Kubernetes has an object that cannot be understood: {error}")
        }
        other => {
            let mut text = format!("Kubernetes cannot be reached: {other}");
            let mut source = other.source();
            while let Some(cause) = source {
                // Many errors repeat their cause in their own text.
                if !text.contains(&cause.to_string()) {
                    text.push_str(&format!(": {cause}"));
                }
                source = cause.source();
            }
            text
        }
    }
}

/// Why a request does not reach a handler: an answer with another status than 200.
#[derive(Debug)]
pub(crate) enum Stop {
    /// 403: no client certificate.
    Certificate,
    /// 404, or 405 with the methods that the path takes.
    NoRoute(NoRoute, Vec<&'static str>),
    /// 401, with 4.1's text.
    Unauthorized(&'static str),
    /// 400: no JSON, or a field of another type, or a query that is none.
    Malformed(String),
    /// 408: the body does not come.
    Slow,
    /// 413: more than so many bytes.
    TooLarge(usize),
    /// 503: worth another try.
    Unavailable(String),
}

impl IntoResponse for Stop {
    fn into_response(self) -> Response {
        match self {
            Self::Certificate => plain(StatusCode::FORBIDDEN, texts::CERTIFICATE_REQUIRED),
            Self::NoRoute(NoRoute::UnknownPath, _) => {
                plain(StatusCode::NOT_FOUND, &NoRoute::UnknownPath.to_string())
            }
            Self::NoRoute(NoRoute::OtherMethod, methods) => {
                let methods = methods.join(", ");
                let text = format!("{}: {methods}", NoRoute::OtherMethod);
                let mut response = plain(StatusCode::METHOD_NOT_ALLOWED, &text);
                if let Ok(value) = HeaderValue::try_from(methods) {
                    response.headers_mut().insert(ALLOW, value);
                }
                response
            }
            Self::Unauthorized(text) => plain(StatusCode::UNAUTHORIZED, text),
            Self::Malformed(why) => refused(StatusCode::BAD_REQUEST, why),
            Self::Slow => refused(
                StatusCode::REQUEST_TIMEOUT,
                "the body of the request did not arrive in time".to_owned(),
            ),
            Self::TooLarge(limit) => refused(
                StatusCode::PAYLOAD_TOO_LARGE,
                format!("the body of the request is too large; at most {limit} bytes are possible"),
            ),
            Self::Unavailable(why) => refused(StatusCode::SERVICE_UNAVAILABLE, why),
        }
    }
}

/// A text as 4.1 sends it, with a newline at its end.
pub(crate) fn plain(status: StatusCode, text: &str) -> Response {
    let headers = [
        (CONTENT_TYPE, "text/plain; charset=utf-8"),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ];
    (status, headers, format!("{text}\n")).into_response()
}

fn refused(status: StatusCode, why: String) -> Response {
    let mut response = json(&Outcome::error(why));
    *response.status_mut() = status;
    response
}

/// A JSON answer as 4.1 sends it, with a newline at its end.
pub(crate) fn json(value: &impl Serialize) -> Response {
    match serde_json::to_string(value) {
        Ok(text) => {
            let mut response = Response::new(Body::from(format!("{text}\n")));
            response
                .headers_mut()
                .insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
            response
        }
        Err(error) => plain(
            StatusCode::INTERNAL_SERVER_ERROR,
            &format!("the answer cannot be written: {error}"),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kubernetes_own_words_go_through_unchanged() {
        let status = kube::core::Status::failure("pgtasks \"a\" already exists", "AlreadyExists");
        let refusal = Refusal::from(kube::Error::Api(status.boxed()));
        assert_eq!(refusal.0, "pgtasks \"a\" already exists");
    }

    #[test]
    fn a_text_ends_with_a_newline_and_is_not_sniffed() {
        let response = Stop::Unauthorized(texts::NOT_AUTHORIZED).into_response();
        assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
        assert_eq!(response.headers()[X_CONTENT_TYPE_OPTIONS], "nosniff");
        assert_eq!(
            response.headers()[CONTENT_TYPE],
            "text/plain; charset=utf-8"
        );
    }

    #[test]
    fn another_method_is_told_which_would_be_right() {
        let response = Stop::NoRoute(NoRoute::OtherMethod, vec!["POST"]).into_response();
        assert_eq!(response.status(), StatusCode::METHOD_NOT_ALLOWED);
        assert_eq!(response.headers()[ALLOW], "POST");
    }
}
