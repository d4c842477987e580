// Runs one kernel as one processor would, on arrays; spikec's own. KERNEL is its file. Handles are, of the upper and of
// the lower half, excitatory rows, then inhibitory ones.
#include "libnux/vx/vector_row.h"
#include <cstring>

volatile libnux::vx::PPUOnDLS ppu = libnux::vx::PPUOnDLS::top;
struct Recording { uint64_t time; };
#define PLASTICITY_RULE_KERNEL spikec_kernel
#include KERNEL

namespace {
std::array<SynapseArrayViewHandle, 4> synapses;
std::array<NeuronViewHandle, 2> neurons;
}

extern "C" {

void prepare(int half, int rows, uint8_t const* active)
{
	ppu = half ? libnux::vx::PPUOnDLS::bottom : libnux::vx::PPUOnDLS::top;
	for (size_t i = 0; i < synapses.size(); ++i) {
		auto& each = synapses[i];
		each.hemisphere = i % 2 ? libnux::vx::PPUOnDLS::bottom : libnux::vx::PPUOnDLS::top;
		each.rows.resize(rows);
		for (auto* values : {&each.weights, &each.causal, &each.acausal}) values->resize(rows);
		each.resets.assign(rows, 0);
		for (size_t column = 0; column < 256; ++column) each.columns[column] = active[256 * (i % 2) + column];
	}
	neurons[0].hemisphere = libnux::vx::PPUOnDLS::top;
	neurons[1].hemisphere = libnux::vx::PPUOnDLS::bottom;
}

// (4, rows, 256) each: the handles in order.
void put(uint8_t const* weights, uint8_t const* causal, uint8_t const* acausal)
{
	for (size_t i = 0; i < synapses.size(); ++i) {
		auto& each = synapses[i];
		size_t const rows = each.rows.size();
		for (size_t row = 0; row < rows; ++row) {
			std::memcpy(each.weights[row].data.data(), weights + 256 * (i * rows + row), 256);
			std::memcpy(each.causal[row].data.data(), causal + 256 * (i * rows + row), 256);
			std::memcpy(each.acausal[row].data.data(), acausal + 256 * (i * rows + row), 256);
		}
	}
}

// (2, 256) each.
void put_neurons(uint8_t const* counters, uint8_t const* readouts)
{
	for (size_t i = 0; i < neurons.size(); ++i) {
		std::memcpy(neurons[i].counters.data.data(), counters + 256 * i, 256);
		std::memcpy(neurons[i].readouts.data.data(), readouts + 256 * i, 256);
	}
}

uint64_t run()
{
	Recording recording{0};
	spikec_kernel(synapses, neurons, recording);
	return recording.time;
}

void get(uint8_t* weights, int* resets)
{
	for (size_t i = 0; i < synapses.size(); ++i) {
		auto const& each = synapses[i];
		size_t const rows = each.rows.size();
		for (size_t row = 0; row < rows; ++row) {
			std::memcpy(weights + 256 * (i * rows + row), each.weights[row].data.data(), 256);
			resets[i * rows + row] = each.resets[row];
		}
	}
}

} // extern "C"
