package web

import (
	"context"
	"net/http"
	"strings"
	"time"
)

// readyTime is how long readiness may take to find out. Whoever asks, asks again soon.
const readyTime = 5 * time.Second

// ready answers 200 if work can be done now, else 503 with the reasons, one on a line.
func ready(w http.ResponseWriter, req *http.Request, e Engine) {
	ctx, cancel := context.WithTimeout(req.Context(), readyTime)
	defer cancel()
	err := e.Ready(ctx)
	if err == nil {
		answerText(w, http.StatusOK, "ready\n")
		return
	}
	text := "not ready\n"
	for line := range strings.Lines(err.Error()) {
		if line = strings.TrimSpace(line); line != "" {
			text += "- " + line + "\n"
		}
	}
	answerText(w, http.StatusServiceUnavailable, text)
}
