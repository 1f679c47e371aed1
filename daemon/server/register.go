package server

// register adds every endpoint.
func (s *Server) register() {
	s.registerReading()
	s.registerJobs()
	s.registerFollow()
	s.registerChanging()
	s.registerMachines()
	s.registerHolds()
	s.registerPolicies()
	s.registerGrants()
	s.registerTokens()
	s.registerLend()
	s.registerContent()
	s.registerFiles()
	s.registerSearch()
	s.registerMaps()
	s.registerWindows()
	s.registerConfig()
	s.registerTimeline()
	s.registerWatching()
	s.registerMetrics()
}
