package main

import (
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"

	"golang.org/x/term"
)

// newLogger writes text to a terminal and JSON to anything else.
func newLogger(w *os.File, level, format string) *slog.Logger {
	l, _ := logLevel(level)
	return slog.New(logHandler(w, l, format == "text" || format == "auto" && term.IsTerminal(int(w.Fd()))))
}

func logHandler(w io.Writer, level slog.Level, text bool) slog.Handler {
	o := &slog.HandlerOptions{Level: level}
	if text {
		return slog.NewTextHandler(w, o)
	}
	return slog.NewJSONHandler(w, o)
}

func logLevel(s string) (slog.Level, error) {
	switch strings.ToLower(s) {
	case "debug":
		return slog.LevelDebug, nil
	case "info":
		return slog.LevelInfo, nil
	case "warn":
		return slog.LevelWarn, nil
	case "error":
		return slog.LevelError, nil
	}
	return 0, fmt.Errorf("--log-level is %q, must be debug, info, warn or error", s)
}
