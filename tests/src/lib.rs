//! The test harness: throwaway servers, daemon runner, fake peers.
