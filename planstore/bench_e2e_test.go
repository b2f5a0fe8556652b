//go:build e2e

package planstore

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/plumbline-dev/plumbline/internal/parts"
)

// BenchmarkS3 puts and gets 1,000 plans of 50 KB, and by turns the same bytes through the bare SDK. Wanted: both within
// 1.2 of it. Puts are measured twice: against the SDK's plain PutObject, and against one that asks of the server what ours
// does, that is a condition and a SHA-256. The difference between the two is the server's.
func BenchmarkS3(b *testing.B) {
	const plans = 1_000
	server := parts.S3(b)
	b.Setenv("AWS_ACCESS_KEY_ID", server.AccessKey)
	b.Setenv("AWS_SECRET_ACCESS_KEY", server.SecretKey)
	settings, err := config.LoadDefaultConfig(b.Context(), config.WithRegion(server.Region))
	if err != nil {
		b.Fatal(err)
	}
	bare := s3.NewFromConfig(settings, func(o *s3.Options) { o.UsePathStyle, o.BaseEndpoint = true, aws.String(server.Endpoint) })
	store, err := Open(b.Context(), Options{Location: "s3://" + server.Bucket + "/sealed?endpoint=" + server.Endpoint, Key: benchKey, Repository: "repo"})
	if err != nil {
		b.Fatal(err)
	}
	data := make([]byte, 50_000)
	_, _ = rand.NewChaCha8([32]byte{1}).Read(data) // never fails
	out := filepath.Join(b.TempDir(), "plan")
	sum := sha256.Sum256(data)
	check := aws.String(base64.StdEncoding.EncodeToString(sum[:]))
	var put, barePut, samePut, get, bareGet time.Duration
	took := func(total *time.Duration, do func() error) {
		start := time.Now()
		if err := do(); err != nil {
			b.Fatal(err)
		}
		*total += time.Since(start)
	}
	round := 0
	for b.Loop() {
		round++
		ids := make([]string, plans)
		for i := range plans {
			key := aws.String(fmt.Sprintf("bare/%d/%d", round, i))
			took(&put, func() error {
				p, err := store.Put(b.Context(), Plan{Workspace: "a"}, bytes.NewReader(data), strings.NewReader("{}"))
				ids[i] = p.ID
				return err
			})
			took(&barePut, func() error {
				_, err := bare.PutObject(b.Context(), &s3.PutObjectInput{Bucket: &server.Bucket, Key: key, Body: bytes.NewReader(data)})
				return err
			})
			took(&samePut, func() error {
				_, err := bare.PutObject(b.Context(), &s3.PutObjectInput{
					Bucket: &server.Bucket, Key: aws.String(fmt.Sprintf("same/repo/plan/%d/%d", round, i)), Body: bytes.NewReader(data),
					IfNoneMatch: aws.String("*"), ChecksumSHA256: check,
				})
				return err
			})
		}
		for i := range plans {
			key := aws.String(fmt.Sprintf("bare/%d/%d", round, i))
			took(&get, func() error { return store.WritePlanFile(b.Context(), ids[i], out) })
			took(&bareGet, func() error {
				return writeFile(out, func(w io.Writer) error {
					o, err := bare.GetObject(b.Context(), &s3.GetObjectInput{Bucket: &server.Bucket, Key: key})
					if err != nil {
						return err
					}
					defer o.Body.Close()
					_, err = io.Copy(w, o.Body)
					return err
				}, os.Rename)
			})
		}
	}
	b.ReportMetric(put.Seconds()/barePut.Seconds(), "put/bare")
	b.ReportMetric(put.Seconds()/samePut.Seconds(), "put/same-request")
	b.ReportMetric(get.Seconds()/bareGet.Seconds(), "get/bare")
}
