// Package metrics shows a status and the jobs of a daemon to Prometheus.
//
// [Exporter] is an http.Handler for /metrics, and writes the same text as a file for the
// textfile collector of node_exporter. What it shows comes from a function that it is given, which is
// asked once for each time that somebody reads. [Jobs] counts the jobs that end.
//
// Names of metrics and of their labels are stable; the README lists them, and a test holds the list, the
// dashboard and the alert rules of the package (integration/package) against what is shown. Names of vaults
// and machines are labels, and can be anything.
package metrics
