// Deploys with the client that openapi-generator generates from the OpenAPI document, and reports what it saw as JSON.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"time"

	api "deploys/gitapi"
)

var background = context.Background()

func client(token string) *api.APIClient {
	settings := api.NewConfiguration()
	settings.Servers = api.ServerConfigurations{{URL: os.Getenv("API_URL")}}
	settings.AddDefaultHeader("Authorization", "Bearer "+token)
	return api.NewAPIClient(settings)
}

// must ends the program if a request was refused.
func must[T any](answer T, response *http.Response, err error) (T, *http.Response) {
	if err != nil {
		var refused *api.GenericOpenAPIError
		if errors.As(err, &refused) {
			fmt.Fprintln(os.Stderr, string(refused.Body()))
		}
		panic(err)
	}
	return answer, response
}

// code returns the error code of a refusal.
func code(err error) string {
	var refused *api.GenericOpenAPIError
	if !errors.As(err, &refused) {
		panic(fmt.Sprint("no refusal: ", err))
	}
	return string(refused.Model().(api.ErrorEnvelope).Error.Code)
}

func seconds(response *http.Response, header string) time.Duration {
	value, _ := strconv.Atoi(response.Header.Get(header))
	return time.Duration(value) * time.Second
}

func main() {
	owner, approver := client(os.Getenv("OWNER_TOKEN")), client(os.Getenv("APPROVER_TOKEN"))
	limited := client(os.Getenv("LIMITED_TOKEN"))

	repositories, _ := must(owner.RepositoriesAPI.ListRepositories(background).Execute())
	repository := ""
	for _, one := range repositories.Data {
		if one.Name == "frontend-app" {
			repository = one.Id
		}
	}

	body := api.NewDeploymentInput("main")
	body.SetEnvironment("production")
	deployment, _ := must(owner.DeploymentsAPI.CreateDeployment(background, repository).DeploymentInput(*body).Execute())
	queued, _ := must(owner.DeploymentsAPI.GetDeployment(background, deployment.Id).Execute())
	blocker := queued.Queue.Get().BlockedBy.Get().Kind
	approval := api.NewApprovalInput(deployment.Sha, deployment.ApprovalDigest)
	must(approver.DeploymentsAPI.ApproveDeployment(background, deployment.Id).ApprovalInput(*approval).Execute())

	lines := []string{}
	for after, complete := int64(0), false; !complete; {
		log, response := must(owner.DeploymentsAPI.GetDeploymentLog(background, deployment.Id).After(after).Execute())
		for _, line := range log.Data {
			lines = append(lines, line.Text)
		}
		after, complete = log.Meta.NextAfter, log.Meta.Complete
		time.Sleep(seconds(response, "X-Poll-Interval"))
	}
	ended, _ := must(owner.DeploymentsAPI.GetDeployment(background, deployment.Id).Execute())

	artifacts, _ := must(owner.DeploymentsAPI.ListDeploymentArtifacts(background, deployment.Id).Execute())
	file, _ := must(owner.DeploymentsAPI.GetDeploymentArtifact(background, deployment.Id, artifacts.Data[0].Path).Execute())
	artifact, err := io.ReadAll(file)
	if err != nil {
		panic(err)
	}

	_, _, unauthorized := client("dgp_nobody").RepositoriesAPI.ListRepositories(background).Execute()

	var refused error
	var response *http.Response
	for refused == nil {
		_, response, refused = limited.RepositoriesAPI.ListRepositories(background).Execute()
	}
	time.Sleep(seconds(response, "Retry-After"))
	must(limited.RepositoriesAPI.ListRepositories(background).Execute())

	report, err := json.Marshal(map[string]any{
		"deployment": deployment.Id, "waited_for": blocker, "status": ended.Status, "log": lines,
		"artifact": string(artifact), "unauthorized": code(unauthorized), "limited": code(refused),
	})
	if err != nil {
		panic(err)
	}
	fmt.Println(string(report))
}
