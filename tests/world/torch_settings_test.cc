#include <ATen/Context.h>
#include <c10/util/Exception.h>
#include <gtest/gtest.h>
#include <polyrank/world/torch_settings.h>
#include <torch/csrc/autograd/anomaly_mode.h>

namespace polyrank {
namespace {

class TorchSettingsTest : public testing::Test {
 protected:
  // Changes some of each kind.
  static void change() {
    at::globalContext().setDeterministicAlgorithms(true, true);
    at::globalContext().setFloat32MatmulPrecision("medium");
    at::globalContext().setSDPUseFlash(false);
    at::globalContext().setCheckSparseTensorInvariants(true);
    c10::WarningUtils::set_warnAlways(true);
    torch::autograd::AnomalyMode::set_enabled(true, false);
  }

  void TearDown() override { before_.put(TorchSettings()); }

  const TorchSettings before_ = TorchSettings::present();
};

TEST_F(TorchSettingsTest, PutsBackWhatWasChanged) {
  change();
  const TorchSettings changed = TorchSettings::present();
  EXPECT_FALSE(changed == before_);
  before_.put(changed);
  EXPECT_TRUE(TorchSettings::present() == before_);
  EXPECT_FALSE(at::globalContext().deterministicAlgorithms());
  EXPECT_TRUE(at::globalContext().userEnabledFlashSDP());
  EXPECT_FALSE(at::globalContext().checkSparseTensorInvariants().has_value());
  EXPECT_FALSE(torch::autograd::AnomalyMode::is_enabled());

  changed.put(before_);
  EXPECT_TRUE(TorchSettings::present() == changed);
  EXPECT_TRUE(at::globalContext().deterministicAlgorithmsWarnOnly());
  EXPECT_EQ(at::globalContext().float32MatmulPrecision(), at::Float32MatmulPrecision::MEDIUM);
  EXPECT_FALSE(torch::autograd::AnomalyMode::should_check_nan());
  EXPECT_TRUE(c10::WarningUtils::get_warnAlways());
}

TEST_F(TorchSettingsTest, SetsNothingWhereNothingDiffers) {
  change();
  before_.put(before_);  // so says the caller
  EXPECT_FALSE(TorchSettings::present() == before_);
}

}  // namespace
}  // namespace polyrank
