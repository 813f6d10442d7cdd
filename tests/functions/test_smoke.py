def test_a_job_goes_its_way(api, worker):
    job = api.submit("echo", {"a": 1.5})
    assert worker() == []
    print(api.job(job["id"]))
    assert api.job(job["id"])["result"] == {"a": 1.5}
