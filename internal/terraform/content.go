package terraform

import (
	"archive/zip"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"google.golang.org/protobuf/encoding/protowire"
)

// timestampField is the number of the field in the plan's protobuf message that holds when it was made, in RFC 3339: see
// message Plan in internal/plans/planproto/planfile.proto of https://github.com/hashicorp/terraform, and the same of
// OpenTofu.
const timestampField = 21

// maxPlanEntry bounds what is read of one entry of a plan file.
const maxPlanEntry = 1 << 30

// PlanContent returns a digest of a plan file that leaves out the time at which the plan was made. Two files with one
// digest hold the same plan, of the same configuration, against the same state; whatever Terraform shows of the one it
// shows of the other. It is "" where the file cannot be looked into, such as an encrypted one of OpenTofu. No process is
// started.
func PlanContent(planFile string) (string, error) {
	z, err := zip.OpenReader(planFile)
	if err != nil {
		return "", nil
	}
	defer func() { _ = z.Close() }() // It was only read.
	files := slices.Clone(z.File)
	slices.SortFunc(files, func(a, b *zip.File) int { return strings.Compare(a.Name, b.Name) })
	digest := sha256.New()
	for _, f := range files {
		content, err := readEntry(f)
		if err != nil {
			return "", fmt.Errorf("read plan %q: %w", planFile, err)
		}
		if f.Name == "tfplan" {
			if content = withoutTimestamp(content); content == nil {
				return "", nil
			}
		}
		sum := sha256.Sum256(content)
		fmt.Fprintf(digest, "%q %x\n", f.Name, sum)
	}
	return hex.EncodeToString(digest.Sum(nil)), nil
}

func readEntry(f *zip.File) ([]byte, error) {
	r, err := f.Open()
	if err != nil {
		return nil, err
	}
	defer r.Close()
	content, err := io.ReadAll(io.LimitReader(r, maxPlanEntry+1))
	if err == nil && len(content) > maxPlanEntry {
		err = fmt.Errorf("entry %q is larger than 1 GiB", f.Name)
	}
	return content, err
}

// withoutTimestamp returns a plan's message without its timestamp and in an order of its own: Terraform writes resources in
// the order in which it happened to finish with them, which means nothing. It returns nil when the message is not one
// that it understands: should a later Terraform use the number for something else, nothing of that may be left out.
func withoutTimestamp(message []byte) []byte {
	var fields [][]byte
	for rest := message; len(rest) > 0; {
		number, kind, n := protowire.ConsumeField(rest)
		if n < 0 {
			return nil
		}
		if int(number) == timestampField {
			if kind != protowire.BytesType {
				return nil
			}
			_, _, tag := protowire.ConsumeTag(rest)
			text, _ := protowire.ConsumeString(rest[tag:])
			if _, err := time.Parse(time.RFC3339, text); err != nil {
				return nil
			}
		} else {
			fields = append(fields, rest[:n])
		}
		rest = rest[n:]
	}
	slices.SortFunc(fields, bytes.Compare)
	return slices.Concat(fields...)
}
