// Package telemetry is how a running Plumbline is watched: its metrics, its traces and its log.
//
// Each of the three is a value that is built once, at the start, and handed to whoever has something to tell: Metrics
// counts and is asked by Prometheus, a Tracer sends spans to a collector over OTLP, and NewLog makes the logger. Nobody
// else knows the libraries behind them; what is told are plain words, numbers and durations.
//
// A nil *Metrics and a nil *Tracer take everything and do nothing, so that no caller has to ask whether it is watched.
//
// What is told here is read by many, so two rules hold. Secrets never get out: a Redactor that knows the secret values
// stands before the log and the spans, and metrics have no text of anybody else's. And the number of time series is
// bounded: no metric is labelled with a workspace, a repository or a branch.
package telemetry
